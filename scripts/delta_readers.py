"""Reads a Delta table with one reader and compares its figures with those of a server.

usage: delta_readers.py READER TABLE EXPECTED.json

READER is deltalake (as an Arrow dataset), deltalake-sql (its own query engine), duckdb (over the
files that the Delta log names) or polars. EXPECTED.json is one row of the columns of `FIGURES`.
Times are µs since the epoch, UTC. Never writes to the table.
"""

import json
import math
import sys

import deltalake

FIGURES = ["records", "prompt_tokens", "costs", "cost_usd", "sessions", "first_us", "last_us"]
COLUMNS = ["timestamp", "prompt_tokens", "cost_usd", "session_id"]


def by_deltalake(table):
    import pyarrow
    import pyarrow.compute as pc

    rows = deltalake.DeltaTable(table).to_pyarrow_dataset().to_table(columns=COLUMNS)
    times = rows["timestamp"]
    if times.type.tz != "UTC":
        raise SystemExit(f"timestamps are {times.type}, not UTC")
    micros = times.cast(pyarrow.timestamp("us", tz="UTC")).cast("int64")
    return [
        rows.num_rows,
        pc.sum(rows["prompt_tokens"]).as_py(),
        len(rows) - rows["cost_usd"].null_count,
        pc.sum(rows["cost_usd"]).as_py(),
        pc.count_distinct(rows["session_id"], mode="only_valid").as_py(),
        pc.min(micros).as_py(),
        pc.max(micros).as_py(),
    ]


def by_deltalake_sql(table):
    import pyarrow

    query = """
        select count(*), sum(prompt_tokens), count(cost_usd), sum(cost_usd), count(distinct session_id),
               cast(min(timestamp) as bigint), cast(max(timestamp) as bigint)
        from agent_logs"""
    engine = deltalake.QueryBuilder().register("agent_logs", deltalake.DeltaTable(table))
    rows = pyarrow.table(engine.execute(query))
    return [column[0].as_py() for column in rows.columns]


def by_duckdb(table):
    import duckdb

    files = deltalake.DeltaTable(table).file_uris()
    query = """
        select count(*), sum(prompt_tokens), count(cost_usd), sum(cost_usd), count(distinct session_id),
               epoch_us(min(timestamp)), epoch_us(max(timestamp))
        from read_parquet($files)"""
    return duckdb.execute(query, {"files": files}).fetchone()


def by_polars(table):
    import polars

    time = polars.col("timestamp").dt.timestamp("us")
    figures = polars.scan_delta(table).select(
        polars.len().alias("records"),
        polars.col("prompt_tokens").sum().alias("prompt_tokens"),
        polars.col("cost_usd").count().alias("costs"),
        polars.col("cost_usd").sum().alias("cost_usd"),
        polars.col("session_id").drop_nulls().n_unique().alias("sessions"),
        time.min().alias("first_us"),
        time.max().alias("last_us"),
    )
    return figures.collect().row(0)


READERS = {
    "deltalake": by_deltalake,
    "deltalake-sql": by_deltalake_sql,
    "duckdb": by_duckdb,
    "polars": by_polars,
}


def main():
    reader, table, expected_file = sys.argv[1:]
    with open(expected_file) as file:
        (expected,) = json.load(file)
    read = dict(zip(FIGURES, READERS[reader](table), strict=True))
    differences = 0
    for name in FIGURES:
        wanted, got = expected[name], read[name]
        # A sum of floats depends on the order of its terms; everything else is exact.
        if name == "cost_usd":
            equal = math.isclose(wanted, got, rel_tol=1e-9)
        else:
            equal = int(wanted) == int(got)
        if not equal:
            print(f"      {name}: the server says {wanted}, {reader} reads {got}")
            differences += 1
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
