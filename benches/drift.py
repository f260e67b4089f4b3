#!/usr/bin/env python3
"""Drift of everything that is watched, a thousand verdicts and more, over a month of calls.

usage: benches/drift.py [--records 3000000] [--companies 3] [--days 35] [--runs 9] [--seed 1] [--dir DIR] [--json FILE]

Traffic of several companies is made by `driftline generate`, each with a seed, and with agents, models and tenants, of
its own, and loaded; maintenance is run until nothing is due, and the rollups of all files are awaited. The server is
started again, and /api/v1/drift asked for every verdict on the newest three days, each beside the same day of the four
weeks before: twice to warm up, then RUNS times. A verdict counts here where a test was made of it. Told are the median and the worst. Times never fail the bench, what is beyond the mark is said.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import scale
import served

MARK_SECONDS = 2.0
VERDICTS_MIN = 1_000
NAMES = re.compile(rb'"(agent_id|tenant_id|model)":"([^"]+)"')


def load(server, options):
    """Posts every company's calls; how many were acknowledged."""
    binary = served.binary()
    address = f"http://{server.address[0]}:{server.address[1]}"
    for company in range(options.companies):
        made = subprocess.Popen([binary, "generate", "--seed", str(options.seed + company), "--start", scale.START,
                                 "--days", str(options.days),
                                 "--rate", str(options.records / options.companies / options.days)],
                                stdout=subprocess.PIPE)
        loaded = subprocess.Popen([binary, "load", "-", "--url", address], stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL)
        mark = rb'"\1":"\2-%d"' % company
        for lines in iter(lambda: made.stdout.readlines(1 << 20), []):
            loaded.stdin.write(NAMES.sub(mark, b"".join(lines)))
        loaded.stdin.close()
        if made.wait() != 0 or loaded.wait() != 0:
            sys.exit("the calls were not loaded")
    return server.status()["books"]["accepted"]


def ask(server, end):
    target = f"/api/v1/drift?to={end}&window_hours=24&references=4&verdict=all"
    answer = server.ask("GET", target, timeout=scale.ANSWER_SECONDS_MAX)
    if answer.status != 200:
        sys.exit(f"drift: {answer.status} {answer.error()}")
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--companies", type=int, default=3)
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", help="where the data goes; the system's temporary directory by default")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    print(f"{served.version()}; {served.machine()}; {options.days} days, seed {options.seed}", flush=True)
    claims = served.Claims()
    with tempfile.TemporaryDirectory(prefix="driftline-drift-", dir=options.dir) as work:
        work = pathlib.Path(work)
        server = served.Server(work / "data", work, scale.SETTINGS).wait_ready()
        try:
            rows = load(server, options)
            scale.settle(server)
            server.stop()
            server = served.Server(work / "data", work, scale.SETTINGS).wait_ready()
            end = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(1777593600 + options.days * 86400))
            times = []
            for run in range(scale.WARM_UPS + options.runs):
                answer = ask(server, end)
                if run >= scale.WARM_UPS:
                    times.append(answer.seconds)
        finally:
            server.kill()
    totals, median = answer.json()["totals"], served.quantile(times, 0.5)
    claims.check("verdicts", totals["tests"] >= VERDICTS_MIN, f"{totals['tests']:,} of {rows:,} calls: {json.dumps(totals)}")
    beyond = "" if median <= MARK_SECONDS else f", beyond the mark of {MARK_SECONDS:.0f} s"
    claims.note("time", f"median {median:.2f} s, worst {max(times):.2f} s of {len(times)}{beyond}")
    if options.json:
        figures = {"rows": rows, "totals": totals, "seconds": times}
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1))
    claims.finish()


if __name__ == "__main__":
    main()
