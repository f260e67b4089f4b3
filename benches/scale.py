#!/usr/bin/env python3
"""Three months as quick as three hours? Every named query and KPI over a quarter of a year, at growing numbers of calls.

usage: benches/scale.py [--sizes 1000000,10000000] [--days 91] [--runs 9] [--seed 1] [--dir DIR] [--json FILE]
                        [--compare-max 10000000] [--look-ups-max 10000000]

For each size: `driftline generate` makes so many calls over the same days, and posts them to a server in the order of
time. Maintenance is run until nothing is due, for days that are over, and the rollups of all files are awaited. Then the server is started
again, and each question is asked over the whole range: twice to warm up, then RUNS times; the median is told, by the
client's clock, over one HTTP connection, answer read and parsed as text. KPIs are asked by day and agent, and queries
for all agents, in their own grain. Then each target of our dashboards is asked as Grafana asks it, with its own grain, groups
and figures, for all tenants, agents and models, in the buckets for a panel of 1,440 points, which are of two hours.

Each answer but those of panels, which ask the same files, is compared with the one that `rollups=off` gives, up to COMPARE_MAX calls: counts, texts and times must be
equal, figures to a relative 1e-9 (sums of floats are added in another order). Sketches are mergeable, so theirs are
equal as well. Differences fail the bench, times never do; what is beyond a mark is said: 20 ms, and 1.5 times the
time at the smallest size. Panels are told apart from the other questions. Those of single calls (look-ups) are told apart: no rollup can answer them, and over
a whole range they may want more memory than a statement has, which is told as refused; they are asked once, up to LOOK_UPS_MAX calls.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import served

START = "2026-05-01T00:00:00Z"
MARK_SECONDS, MARK_GROWTH = 0.020, 1.5
# Figures this near are equal: a sum of so many floats has lost no more.
CLOSE = 1e-9
WARM_UPS = 2
PANEL_INTERVAL_MS, PANEL_POINTS = 7_200_000, 1_440
DASHBOARDS = pathlib.Path(__file__).resolve().parent.parent / "dashboards" / "grafana" / "driftline"
SETTLE_SECONDS_MAX = 3600
ANSWER_SECONDS_MAX = 600
SETTINGS = "[query]\ntimeout_s = 600\n"
# Days that are over are history: their files are joined and compressed before anything is asked, not 15 minutes later.
AS_HISTORY = SETTINGS + "[lifecycle]\nclosed_after_minutes = 0\n"
# They show calls, or join the calls of a session or of an experiment's units, so they read calls.
LOOK_UPS = {"trace_calls", "trace_search", "trace_spans", "session_calls", "slow_requests", "likely_hallucinations",
            "rejected_lines", "top_sessions_by_cost", "ingest_lag_hourly", "experiments", "runaway_sessions",
            "retry_loops", "tool_loops", "stuck_calls", "mispriced_calls", "outlier_calls"}


class Question:
    """A named query or a KPI, and how it is asked."""

    def __init__(self, named, start, end, lookup):
        self.name = named["name"]
        params = {param["name"] for param in named["params"]}
        self.kind = "look-up" if self.name in LOOK_UPS else "query"
        asked = {"from": start, "to": end} if "from" in params else {}
        asked.update({"trace_id": lookup["trace_id"]} if "trace_id" in params else {})
        asked.update({"session_id": lookup["session_id"]} if "session_id" in params else {})
        asked.update({"grain": "day", "by": "agent"} if {"grain", "by"} <= params else {})
        self.asked = asked

    def request(self, rollups="on"):
        text = urllib.parse.urlencode({**self.asked, "rollups": rollups})
        return "GET", f"/api/v1/queries/{self.name}?{text}", None, None


class Panel:
    """A target of a dashboard, as Grafana asks it."""

    def __init__(self, dashboard, title, target, start, end):
        # Panels of single calls show the worst of the range, and read the calls.
        self.kind = "look-up" if target["target"] in LOOK_UPS else "panel"
        self.name = f"{dashboard}: {title}"
        payload = {key: str(value).replace("$reference_days", "7").replace("$tenant", ".*").replace("$agent", ".*")
                   .replace("$model", ".*") for key, value in target.get("payload", {}).items()}
        self.body = json.dumps({
            "range": {"from": start, "to": end}, "intervalMs": PANEL_INTERVAL_MS, "maxDataPoints": PANEL_POINTS,
            "filters": [], "targets": [{"refId": "A", "target": target["target"], "payload": payload}],
        })

    def request(self):
        return "POST", "/grafana/query", self.body, {"Content-Type": "application/json"}


def questions_of(listed, start, end, lookup):
    """All questions."""
    for named in listed:
        yield Question(named, start, end, lookup)
    seen = set()
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        shown = [(panel["title"], target) for panel in dashboard["panels"] for target in panel["targets"]]
        shown += [(f"{one['name']} (annotation)", one["target"]) for one in dashboard["annotations"]["list"] if not one.get("builtIn")]
        for title, target in shown:
            panel = Panel(path.stem, title, target, start, end)
            if panel.body not in seen:
                seen.add(panel.body)
                yield panel


def load(server, seed, days, records):
    """Generates and posts; rows that were acknowledged and seconds that it took."""
    binary = served.binary()
    begun = time.monotonic()
    made = subprocess.Popen([binary, "generate", "--seed", str(seed), "--start", START, "--days", str(days),
                             "--rate", str(records / days)], stdout=subprocess.PIPE)
    address = f"http://{server.address[0]}:{server.address[1]}"
    subprocess.run([binary, "load", "-", "--url", address], stdin=made.stdout, stdout=subprocess.DEVNULL, check=True)
    made.stdout.close()
    if made.wait() != 0:
        sys.exit("driftline generate failed")
    return server.status()["books"]["accepted"], time.monotonic() - begun


def settle(server):
    """Waits until all is committed, nothing is due, and all calls have their rollups."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        server.ask("POST", "/api/v1/maintenance", timeout=SETTLE_SECONDS_MAX)
        due = server.ask("GET", "/api/v1/maintenance").json()["due"]
        plans = [str(server.rows(f"explain select {key}, count(*) from {table} group by 1"))
                 for key, table in (("agent_id", "agent_logs"), ("tool", "tool_calls"))]
        rolled = all("rollup_" in plan and "TableScan: agent_logs" not in plan for plan in plans)
        if not due and rolled and server.status()["books"]["buffered"] == 0:
            return
        time.sleep(2)
    sys.exit("maintenance and rollups did not come to an end")


def same(left, right):
    if isinstance(left, float) or isinstance(right, float):
        if left is None or right is None:
            return left is right
        return math.isclose(left, right, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def difference(question, rolled, raw):
    """What differs, or None."""
    if len(rolled) != len(raw):
        return f"{len(rolled)} rows from rollups, {len(raw)} from the calls"
    for number, (left, right) in enumerate(zip(rolled, raw)):
        if not same(left, right):
            return f"row {number}: {left} from rollups, {right} from the calls"
    return None


def measure(server, question, runs):
    connection = served.Connection(server.address, ANSWER_SECONDS_MAX)
    # Look-ups may take minutes, and no mark is for them.
    warm_ups, runs = (0, 1) if question.kind == "look-up" else (WARM_UPS, runs)
    times = []
    try:
        for run in range(warm_ups + runs):
            answer = connection.ask(*question.request())
            if answer.status == 422 and question.kind != "query":
                return None, answer
            if answer.status != 200:
                sys.exit(f"{question.name}: {answer.status} {answer.error()}")
            if run >= warm_ups:
                times.append(answer.seconds)
    finally:
        connection.close()
    return served.quantile(times, 0.5), answer


def one_size(options, records, work, claims):
    """Seconds by question, and what describes the table."""
    data = work / f"data-{records}"
    server = served.Server(data, work, SETTINGS).wait_ready()
    try:
        rows, seconds = load(server, options.seed, options.days, records)
        print(f"{rows:,} calls loaded in {seconds:.0f} s", flush=True)
        server.stop()
        server = served.Server(data, work, AS_HISTORY).wait_ready()
        settle(server)
        server.stop()
        server = served.Server(data, work, AS_HISTORY).wait_ready()
        end = f"{time.strftime('%Y-%m-%d', time.gmtime(1777593600 + options.days * 86400))}T00:00:00Z"
        lookup = server.rows("select trace_id, session_id from agent_logs where session_id is not null "
                             "and trace_id is not null limit 1")[0]
        listed = server.ask("GET", "/api/v1/queries").json()
        found = {}
        for question in questions_of(listed, START, end, lookup):
            if question.kind == "look-up" and records > options.look_ups_max:
                continue
            seconds, answer = measure(server, question, options.runs)
            if seconds is None:
                found[question.name] = {"seconds": None, "rows": 0, "kind": question.kind}
                claims.note(f"{question.name} at {rows:,} calls", f"refused: {answer.error()}")
                continue
            found[question.name] = {"seconds": seconds, "rows": len(answer.json()), "kind": question.kind}
            if records <= options.compare_max and question.kind == "query":
                raw = server.ask(*question.request("off"), timeout=ANSWER_SECONDS_MAX)
                differs = difference(question, answer.json(), raw.json())
                found[question.name]["raw_seconds"] = raw.seconds
                claims.check(f"{question.name} at {rows:,} calls", differs is None,
                             differs or f"{len(answer.json())} rows as from the calls")
        files, size = served.tree(data / "tables" / "agent_logs")
        print(f"{rows:,} calls: {files} files, {served.mib(size)}, resident {served.mib(server.process.resident())}",
              flush=True)
        return rows, found
    finally:
        server.kill()
        if not options.keep:
            subprocess.run(["rm", "-rf", str(data)], check=False)


def table(sizes):
    """The times, and what is beyond a mark."""
    first = sizes[0][1]
    columns = ["question", "rows"] + [f"{rows:,} calls" for rows, _ in sizes] + ["growth", "from the calls"]
    lines, beyond = [], {"panel": [], "query": []}
    kinds = [*beyond, "look-up"]
    everywhere = [name for name in first if all(name in found for _, found in sizes)]
    for name in sorted(everywhere, key=lambda name: (kinds.index(first[name]["kind"]), name)):
        kind = first[name]["kind"]
        times = [found[name]["seconds"] for _, found in sizes]
        growth = times[-1] / times[0] if None not in times else None
        raw = sizes[-1][1][name].get("raw_seconds")
        lines.append([f"{name} ({kind})" if kind == "look-up" else name, str(sizes[-1][1][name]["rows"])]
                     + ["refused" if seconds is None else f"{1000 * seconds:.1f} ms" for seconds in times]
                     + [f"{growth:.2f}" if growth else "–", f"{1000 * raw:.0f} ms" if raw else "–"])
        late = [f"{1000 * seconds:.1f} ms at {rows:,}" for (rows, _), seconds in zip(sizes, times)
                if seconds is not None and seconds > MARK_SECONDS]
        if len(sizes) > 1 and growth and growth > MARK_GROWTH:
            late.append(f"{growth:.2f} times")
        if late and kind in beyond:
            beyond[kind].append(f"{name}: {', '.join(late)}")
    return served.markdown(lines, columns), beyond


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000000,10000000")
    parser.add_argument("--days", type=int, default=91)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", help="where the data goes; the system's temporary directory by default")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--compare-max", type=int, default=10_000_000, help="most calls whose answers are compared")
    parser.add_argument("--look-ups-max", type=int, default=10_000_000, help="most calls among which single ones are sought")
    parser.add_argument("--keep", action="store_true", help="keeps the data")
    options = parser.parse_args()
    claims, sizes = served.Claims(), []
    print(f"{served.version()}; {served.machine()}; {options.days} days, seed {options.seed}", flush=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="driftline-scale-", dir=options.dir))
    try:
        for records in map(int, options.sizes.split(",")):
            sizes.append(one_size(options, records, work, claims))
    finally:
        if not options.keep:
            subprocess.run(["rm", "-rf", str(work)], check=False)
    lines, beyond = table(sizes)
    print(f"\n{lines}\n")
    for kind, titled in ("panel", "panels"), ("query", "queries"):
        print(f"{titled} beyond {1000 * MARK_SECONDS:.0f} ms or {MARK_GROWTH} times: "
              + ("; ".join(beyond[kind]) or "none"))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps([{"calls": rows, "questions": found} for rows, found in sizes]))
    return claims.finish()


if __name__ == "__main__":
    sys.exit(main())
