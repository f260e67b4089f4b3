"""Records, different requests, prompt tokens and cost of a Delta table on S3, as the package deltalake reads it.

usage: read_table.py ENDPOINT URL
"""

import math
import os
import sys

import pyarrow.compute as pc
from deltalake import DeltaTable

endpoint, table = sys.argv[1:]
options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    options[name] = os.environ[name]
dataset = DeltaTable(table, storage_options=options).to_pyarrow_dataset()
rows = dataset.to_table(columns=["request_id", "prompt_tokens", "cost_usd"])
costs = (cost for cost in rows["cost_usd"].to_pylist() if cost is not None)
print(rows.num_rows, pc.count_distinct(rows["request_id"]).as_py(), pc.sum(rows["prompt_tokens"]).as_py(),
      repr(math.fsum(costs)))
