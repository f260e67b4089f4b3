#!/usr/bin/env python3
"""Driftline beside DuckDB, and ClickHouse by chdb where it is installed, on the same data.

usage: benches/peers.py [--records 500000] [--driftline BINARY] [--dir DIRECTORY] [--json FILE]

1. Ingest: the same NDJSON through `driftline load --data` into a Delta table, and by DuckDB's
   `read_json` into one zstd Parquet file. Driftline's time includes its write-ahead log, fsync and
   ids; DuckDB's does none of that. Both are processes' own times from file to file.
2. Queries: the server's named queries over HTTP, JSON parsed, against the peers' own SQL on the
   very Parquet files of the Delta table, rows fetched; all warm, best and median of 7, taken in
   turns. Stored times are zoned; the peers group them after a cast to plain UTC, their faster way.
3. Answers are compared: counts and names exactly, money to 1e-9. Engines interpolate percentiles
   differently, and the server's are of sketches: a value passes if it lies within one percent of rank of
   the peer's (and one value to each side, for small groups), give or take one percent of itself.

Needs the Python package duckdb; chdb is optional. Different answers fail; times never do.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

START, END, DAYS, SEED = "2026-05-01T00:00:00Z", "2026-05-11T00:00:00Z", 10, 7
WARM_UPS, RUNS = 2, 7
READY_SECONDS_MAX = STOP_SECONDS_MAX = 300
RANK_TOLERANCE = 0.01
# Ours come from sketches, and say a value to within so much of itself.
VALUE_TOLERANCE = 0.01
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Loopback only, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

RANGE = "timestamp >= {from} and timestamp < {to}"
COST = "sum(coalesce(cost_usd, cost_computed_usd))"

# Per named query: its parameters, the peers' SQL, its key columns, its exact columns, its money
# columns, and its percentiles as (column, quantile). {day} and {hour} truncate the time; {p:…} is
# the peer's own percentile.
QUERIES = {
    "cost_by_tenant_daily": dict(
        sql=f"""select {{day}} as day, tenant_id, count(*) as calls,
                  sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens,
                  sum(total_tokens) as total_tokens, {COST} as cost_usd
                from logs where {RANGE} group by 1, 2""",
        keys=["day", "tenant_id"],
        exact=["calls", "prompt_tokens", "completion_tokens", "total_tokens"],
        money=["cost_usd"],
    ),
    "latency_by_agent_hourly": dict(
        sql=f"""select {{hour}} as hour, agent_id, count(*) as calls, count(latency_ms) as latency_samples,
                  {{p:0.5:latency_ms}} as latency_p50_ms, {{p:0.95:latency_ms}} as latency_p95_ms,
                  {{p:0.99:latency_ms}} as latency_p99_ms, count(ttft_ms) as ttft_samples,
                  {{p:0.5:ttft_ms}} as ttft_p50_ms, {{p:0.95:ttft_ms}} as ttft_p95_ms,
                  {{p:0.99:ttft_ms}} as ttft_p99_ms
                from logs where {RANGE} group by 1, 2""",
        keys=["hour", "agent_id"],
        exact=["calls", "latency_samples", "ttft_samples"],
        percentiles={"latency_ms": [("latency_p50_ms", 0.5), ("latency_p95_ms", 0.95), ("latency_p99_ms", 0.99)]},
    ),
    "daily_active_users": dict(
        sql=f"""select {{day}} as day, count(distinct user_id) as active_users, count(*) as calls
                from logs where {RANGE} group by 1""",
        keys=["day"],
        exact=["active_users", "calls"],
    ),
    "top_sessions_by_cost": dict(
        params={"limit": "20"},
        sql=f"""select session_id, tenant_id, min(agent_id) as agent_id, min(user_id) as user_id,
                  count(*) as calls, sum(total_tokens) as total_tokens, {COST} as cost_usd
                from logs where {RANGE} and session_id is not null
                group by tenant_id, session_id
                order by 7 desc nulls last, 1, 2 limit 20""",
        keys=["session_id", "tenant_id"],
        exact=["agent_id", "user_id", "calls", "total_tokens"],
        money=["cost_usd"],
    ),
}


class Wrong(Exception):
    """Two answers differ, or one is missing."""


class Server:
    """A running server; ends with the block that made it."""

    def __init__(self, binary, data, log):
        self.log = log
        with open(log, "w") as stderr:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", data, "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            )

    def __enter__(self):
        try:
            self.url = self.await_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def await_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            text = pathlib.Path(self.log).read_text()
            if line := re.search(r"listening on (http://\S+)\n", text):
                try:
                    OPENER.open(line[1] + "/readyz", timeout=10).close()
                    return line[1]
                except OSError:
                    pass
            time.sleep(0.05)
        raise Wrong("the server did not start: " + pathlib.Path(self.log).read_text()[-2000:])

    def query(self, name, params):
        arguments = urllib.parse.urlencode({"from": START, "to": END, **params})
        with OPENER.open(f"{self.url}/api/v1/queries/{name}?{arguments}", timeout=300) as answer:
            return json.load(answer)


class DuckDb:
    """DuckDB on the table's files."""

    name = "duckdb"

    def __init__(self, module, files):
        self.connection = module.connect()
        self.connection.execute("set timezone = 'UTC'")
        listed = ", ".join(f"'{file}'" for file in files)
        self.connection.execute(f"create view logs as select * from read_parquet([{listed}])")

    def sql(self, template):
        # Not `at time zone`, which goes through the calendar for each row.
        plain = "make_timestamp(epoch_us(timestamp))"
        template = template.replace("{day}", f"date_trunc('day', {plain})")
        template = template.replace("{hour}", f"date_trunc('hour', {plain})")
        template = re.sub(r"\{p:([\d.]+):(\w+)\}", r"quantile_cont(\2, \1)", template)
        return template.replace("{from}", f"timestamptz '{START}'").replace("{to}", f"timestamptz '{END}'")

    def rows(self, template):
        cursor = self.connection.execute(self.sql(template))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


class ClickHouse:
    """ClickHouse inside this process, on the table's files."""

    name = "chdb"

    def __init__(self, module, files):
        self.session = module.Session()
        common = os.path.commonpath([os.path.dirname(file) for file in files])
        # Braces list alternatives in its file names.
        listed = ",".join(os.path.relpath(file, common) for file in files)
        pattern = f"{common}/{{{listed}}}" if len(files) > 1 else files[0]
        self.session.query("create database if not exists peers engine = Atomic")
        self.session.query(f"create view peers.logs as select * from file('{pattern}', Parquet)")

    def sql(self, template):
        template = template.replace("{day}", "toStartOfDay(timestamp, 'UTC')")
        template = template.replace("{hour}", "toStartOfHour(timestamp, 'UTC')")
        template = re.sub(r"\{p:([\d.]+):(\w+)\}", r"quantileExactInclusive(\1)(\2)", template)
        template = template.replace("{from}", f"parseDateTime64BestEffort('{START}', 6, 'UTC')")
        template = template.replace("{to}", f"parseDateTime64BestEffort('{END}', 6, 'UTC')")
        # Otherwise an alias would stand for its own argument.
        return template.replace("from logs", "from peers.logs") + """
            settings prefer_column_name_to_alias = 1, output_format_json_quote_64bit_integers = 0"""

    def rows(self, template):
        text = self.session.query(self.sql(template), "JSONEachRow").data()
        return [json.loads(line) for line in text.splitlines()]


def live_files(table):
    """The Parquet files of the newest version, by the Delta log, whose JSON commits must all be there."""
    commits = sorted((table / "_delta_log").glob("*.json"))
    if not commits or int(commits[0].stem) != 0:
        raise Wrong("the Delta log does not start with its first commit")
    files = {}
    for commit in commits:
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = True
            elif "remove" in action:
                files.pop(action["remove"]["path"], None)
    return [str(table / urllib.parse.unquote(path)) for path in files]


def moment(value):
    """A time in one spelling: what the peers say of UTC, to the second."""
    return str(value).replace("T", " ").rstrip("Z")[:19]


def key(row, query):
    return tuple(
        moment(row[name]) if name in ("day", "hour") else row[name] for name in query["keys"]
    )


def compare(name, query, ours, theirs, peer, samples):
    """Raises where two answers differ by more than their kinds allow."""
    by_key = {key(row, query): row for row in theirs}
    if len(ours) != len(theirs) or {key(row, query) for row in ours} != by_key.keys():
        raise Wrong(f"{name}: {len(ours)} rows, {peer} has {len(theirs)}, or others")
    for row in ours:
        place = key(row, query)
        other = by_key[place]
        for column in query.get("exact", []):
            mine, yours = row[column], other[column]
            if isinstance(yours, str) != isinstance(mine, str):
                mine, yours = int(mine), int(yours)
            if mine != yours:
                raise Wrong(f"{name} {place} {column}: {mine}, {peer} has {yours}")
        for column in query.get("money", []):
            if not math.isclose(row[column], other[column], rel_tol=1e-9, abs_tol=1e-12):
                raise Wrong(f"{name} {place} {column}: {row[column]}, {peer} has {other[column]}")
        for columns in query.get("percentiles", {}).values():
            for column, quantile in columns:
                check_rank(f"{name} {place} {column}", row[column], quantile, samples[place])


def check_rank(what, value, quantile, ordered):
    if not ordered:
        if value is not None:
            raise Wrong(f"{what}: {value} of no values")
        return
    last = len(ordered) - 1
    low = max(0, math.floor((quantile - RANK_TOLERANCE) * last) - 1)
    high = min(last, math.ceil((quantile + RANK_TOLERANCE) * last) + 1)
    if not ordered[low] * (1 - VALUE_TOLERANCE) <= value <= ordered[high] * (1 + VALUE_TOLERANCE):
        raise Wrong(f"{what}: {value} lies outside {ordered[low]} to {ordered[high]}")


def latency_samples(duck):
    """All latencies of each agent and hour, in order; for the rank of a percentile."""
    rows = duck.rows(
        "select {hour} as hour, agent_id, list(latency_ms order by latency_ms) "
        "filter (where latency_ms is not null) as ordered from logs group by 1, 2"
    )
    return {(moment(row["hour"]), row["agent_id"]): row["ordered"] or [] for row in rows}


def timed(action):
    began = time.perf_counter()
    result = action()
    return time.perf_counter() - began, result


def race(actions):
    """Best and median seconds, and the last result, of each named action; taken in turns."""
    for _ in range(WARM_UPS):
        for action in actions.values():
            action()
    times, results = {name: [] for name in actions}, {}
    for _ in range(RUNS):
        for name, action in actions.items():
            seconds, results[name] = timed(action)
            times[name].append(seconds)
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}, results


def measure_ingest(binary, duckdb, source, work):
    """Seconds of each program from the NDJSON to Parquet, each in its own process."""
    parquet = work / "duckdb.parquet"
    script = (
        "import duckdb, sys; duckdb.execute(\"copy (select * from read_json(?, format = 'newline_delimited')) "
        "to '\" + sys.argv[2] + \"' (format parquet, compression zstd)\", [sys.argv[1]])"
    )
    ours, _ = timed(lambda: subprocess.run(
        [binary, "load", source, "--data", work / "data"], check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ))
    theirs, _ = timed(lambda: subprocess.run([sys.executable, "-c", script, source, parquet], check=True))
    stored = sum(os.path.getsize(file) for file in live_files(work / "data/tables/agent_logs"))
    lines = sum(1 for _ in open(source, "rb"))
    (count,) = duckdb.execute(f"select count(*) from '{parquet}'").fetchone()
    if count != lines:
        raise Wrong(f"duckdb stored {count} of {lines} records")
    megabytes = source.stat().st_size / 1e6
    report = {
        "records": lines,
        "ndjson_mb": megabytes,
        "driftline": {"seconds": ours, "mb_per_s": megabytes / ours, "stored_mb": stored / 1e6},
        "duckdb": {"seconds": theirs, "mb_per_s": megabytes / theirs, "stored_mb": parquet.stat().st_size / 1e6},
        "ratio_driftline_to_duckdb": ours / theirs,
    }
    print(f"{lines} records, {megabytes:.1f} MB of NDJSON, to zstd Parquet:")
    for name in ("driftline", "duckdb"):
        figures = report[name]
        print(f"  {name:<10} {figures['seconds']:7.2f} s {figures['mb_per_s']:8.1f} MB/s "
              f"{figures['stored_mb']:8.1f} MB stored")
    print(f"  driftline takes {report['ratio_driftline_to_duckdb']:.2f} times as long as duckdb\n")
    return report, lines


def measure_queries(server, peers, samples):
    names = ["driftline"] + [peer.name for peer in peers]
    print(f"{'best (median) ms':<26}" + "".join(f"{name:>20}" for name in names) + "   driftline / peer")
    report = {}
    for name, query in QUERIES.items():
        actions = {"driftline": lambda: server.query(name, query.get("params", {}))}
        for peer in peers:
            actions[peer.name] = lambda peer=peer: peer.rows(query["sql"])
        times, results = race(actions)
        for peer in peers:
            compare(name, query, results["driftline"], results[peer.name], peer.name, samples)
        ratios = {peer.name: times["driftline"][0] / times[peer.name][0] for peer in peers}
        cells = "".join(f"{1e3 * times[n][0]:>10.1f} ({1e3 * times[n][1]:>6.1f}) " for n in names)
        print(f"{name:<26}{cells}   " + ", ".join(f"{n} {ratio:.2f}" for n, ratio in ratios.items()))
        report[name] = {
            "rows": len(results["driftline"]),
            "ms": {n: {"best": 1e3 * best, "median": 1e3 * median} for n, (best, median) in times.items()},
            "ratio_driftline_to_peer": ratios,
        }
    print("\nanswers agree: counts exactly, money to 1e-9, percentiles within one percent of rank and of value")
    return report


def find_binary(given):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    candidates = [given or os.environ.get("DRIFTLINE"), target / "release/driftline"]
    for candidate in filter(None, candidates):
        if found := shutil.which(candidate):
            return os.path.abspath(found)
    raise Wrong("no release binary: build it, or name one with --driftline")


def arguments():
    parser = argparse.ArgumentParser(description="Driftline beside DuckDB and ClickHouse on the same data.")
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--driftline", help="the binary; otherwise $DRIFTLINE or the release build")
    parser.add_argument("--dir", default=os.environ.get("CARGO_TARGET_DIR", ROOT / "target"),
                        help="where the data lies while it runs; a disk, not memory")
    parser.add_argument("--json", help="write the figures to this file as well")
    return parser.parse_args()


def import_or_none(name):
    try:
        return __import__(name, fromlist=["*"])
    except ImportError:
        return None


def main():
    options = arguments()
    duckdb = import_or_none("duckdb")
    if duckdb is None:
        print("skipped: the Python package duckdb is not installed")
        return
    chdb = import_or_none("chdb.session")
    if chdb is None:
        print("without chdb, which is not installed")
    binary = find_binary(options.driftline)
    os.makedirs(options.dir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="peers-", dir=options.dir) as work:
        work = pathlib.Path(work).resolve()
        source = work / "load.ndjson"
        rate = math.ceil(options.records / DAYS)
        subprocess.run([binary, "generate", "--seed", str(SEED), "--start", START, "--days", str(DAYS),
                        "--rate", str(rate), "-o", source], check=True)
        print(f"cores {os.cpu_count()}, duckdb {duckdb.__version__}")
        ingest, lines = measure_ingest(binary, duckdb, source, work)
        with Server(binary, work / "data", work / "server.log") as server:
            files = live_files(work / "data/tables/agent_logs")
            duck = DuckDb(duckdb, files)
            (row,) = duck.rows("select count(*) as records from logs")
            if row["records"] != lines:
                raise Wrong(f"{row['records']} records are committed, {lines} were loaded")
            peers = [duck] + ([ClickHouse(chdb, files)] if chdb else [])
            queries = measure_queries(server, peers, latency_samples(duck))
        if options.json:
            report = {"cores": os.cpu_count(), "duckdb": duckdb.__version__, "ingest": ingest, "queries": queries}
            pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (Wrong, subprocess.CalledProcessError) as error:
        sys.exit(f"peers: failed: {error}")
