#!/usr/bin/env python3
"""How long does a scrape take with ten thousand series?

usage: scripts/check-scrape.py [--series 10000] [--scrapes 300]

Live records of as many agents as it takes are sent to a server of the check's own, then /metrics is asked for
over one kept connection, as Prometheus asks: OpenMetrics and the text format, plain and gzip. Checked is that
there are so many series and that each answer is whole; times are shown, and fail nothing.
"""

import argparse
import datetime
import gzip
import json
import os
import pathlib
import sys
import tempfile

from served import Claims, Connection, Server, machine, quantile, version

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
MODELS = ("gpt-4o", "claude-sonnet-4")


def records(agents):
    """One call by each of the agents and models, now."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    for agent in range(agents):
        for model in MODELS:
            yield json.dumps({
                "timestamp": now, "request_id": f"{agent}-{model}", "agent_id": f"agent-{agent}", "model": model,
                "tenant_id": f"tenant-{agent % 7}", "prompt_tokens": 900, "completion_tokens": 90, "cost_usd": 0.01,
                "latency_ms": 1200.5, "ttft_ms": 300.25, "trace_id": f"{agent:032x}",
                "tool_calls": [{"name": "search", "latency_ms": 80, "status": "success"}],
            })


def series(text):
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--series", type=int, default=10_000)
    arguments.add_argument("--scrapes", type=int, default=300)
    options = arguments.parse_args()
    claims = Claims()
    print(f"{version()} on {machine()}")
    with tempfile.TemporaryDirectory() as work:
        server = Server(pathlib.Path(work, "data"), work).wait_ready()
        try:
            agents, found = 0, 0
            while found < options.series:
                agents += 50
                body = "\n".join(records(agents)).encode()
                answer = server.ask("POST", "/api/v1/logs", body, {"Content-Type": "application/x-ndjson"})
                if answer.status != 200:
                    raise SystemExit(f"{answer.status} {answer.error()}")
                found = series(server.ask("GET", "/metrics").body.decode())
            claims.check("series", found >= options.series, f"{found} of {agents} agents and {len(MODELS)} models")
            for name, headers in (
                ("text", {}),
                ("OpenMetrics", {"Accept": OPEN_METRICS}),
                ("OpenMetrics, gzip", {"Accept": OPEN_METRICS, "Accept-Encoding": "gzip"}),
            ):
                connection = Connection(server.address)
                answers = [connection.ask("GET", "/metrics", headers=headers) for _ in range(options.scrapes)]
                connection.close()
                body = answers[-1].body
                text = gzip.decompress(body) if "gzip" in name else body
                whole = all(answer.status == 200 for answer in answers) and series(text.decode()) >= options.series
                times = [answer.seconds * 1000 for answer in answers]
                claims.check(name, whole, f"{len(body) >> 10} KiB, median {quantile(times, 0.5):.2f} ms, "
                             f"p99 {quantile(times, 0.99):.2f} ms of {len(times)} scrapes")
        finally:
            server.stop()
    return claims.finish()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
