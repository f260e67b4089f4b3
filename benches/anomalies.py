#!/usr/bin/env python3
"""`driftline anomalies` on generated traffic: false anomalies where nothing is wrong, and incidents that are found.

usage: benches/anomalies.py [--driftline BINARY] [--seeds 30] [--first 1] [--rate 5000] [--json FILE]

For each seed two data directories are made of nine weeks of traffic with a daily and a weekly rhythm: one quiet, one
with an incident of each kind in the last three weeks, each of at most six hours and of an agent of its own. Both are
asked for the anomalies of the last three weeks, as the command asks for them unless told otherwise. That is by the six
weeks before each week, so that every hour is judged just as the server's job judges it when it is over. An incident is
found when an hour of its agent that it covers is an anomaly; the delay is from its start to the end of the first such
hour. Prints a line a seed and the totals; the exit code is 1 where more than one anomaly per series and month is false,
or where fewer than 95 of 100 incidents are found within two hours. Needs nothing but the binary.
"""

import argparse
import collections
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

START = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)
DAYS, JUDGED_DAYS = 63, 21
# What it is to reach.
FALSE_PER_MONTH_MAX, FOUND_SHARE_MIN, DELAY_HOURS_MAX = 1.0, 0.95, 2
MONTH_HOURS = 30.44 * 24


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--driftline", default="target/release/driftline")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--rate", type=float, default=5_000)
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args()
    false, hours, by_kpi = 0, 0, collections.Counter()
    delays = collections.defaultdict(list)
    for seed in range(flags.first, flags.first + flags.seeds):
        quiet, _ = ask(flags, seed, incidents=False)
        found = len(quiet["anomalies"]) + quiet["left_out"]
        false, hours = false + found, hours + quiet["hours_judged"]
        by_kpi.update(anomaly["kpi"] for anomaly in quiet["anomalies"])
        troubled, labels = ask(flags, seed, incidents=True)
        told = []
        for label in labels:
            delay = delay_hours(label, troubled["anomalies"])
            delays[label["kind"]].append(delay)
            told.append(f"{label['kind']} {'missed' if delay is None else f'{delay:.1f} h'}")
        print(f"seed {seed}: {found} false in {quiet['hours_judged']} hours; {', '.join(told)}", flush=True)
    per_month = false / (hours / MONTH_HOURS)
    print(f"false anomalies per series and month: {per_month:.3f} ({false} in {hours} hours) {dict(by_kpi)}")
    for kind, all_delays in sorted(delays.items()):
        within = [sorted(delay for delay in all_delays if delay is not None and delay <= most) for most in (2, 4, 7)]
        shares = ", ".join(f"{len(one)}/{len(all_delays)} within {most} h" for one, most in zip(within, (2, 4, 7)))
        print(f"{kind:20} {shares}")
    found = [delay for all_delays in delays.values() for delay in all_delays]
    within = sum(delay is not None and delay <= DELAY_HOURS_MAX for delay in found)
    print(f"{within} of {len(found)} incidents found within {DELAY_HOURS_MAX} h")
    if flags.json:
        totals = {"false_per_series_month": per_month, "delays_hours": delays}
        flags.json.write_text(json.dumps(totals) + "\n")
    return int(per_month > FALSE_PER_MONTH_MAX or within < FOUND_SHARE_MIN * len(found))


def ask(flags, seed, incidents):
    """The answer for the last three weeks of a seed's traffic, and the labels of its incidents."""
    with tempfile.TemporaryDirectory(prefix="driftline-anomalies-") as scratch:
        data, lines, labels = (pathlib.Path(scratch) / name for name in ("data", "calls.ndjson", "labels.json"))
        wanted = ["--incidents", "all"] if incidents else []
        run(flags, "generate", "--seed", seed, "--days", DAYS, "--rate", flags.rate, "--start", START.isoformat(),
            "--output", lines, "--labels", labels, *wanted)
        run(flags, "load", lines, "--data", data)
        judged_from = START + datetime.timedelta(days=DAYS - JUDGED_DAYS)
        end = START + datetime.timedelta(days=DAYS)
        answer = run(flags, "anomalies", "--data", data, "--from", judged_from.isoformat(), "--to", end.isoformat(),
                     "--limit", 100, "--json")
        return json.loads(answer), json.loads(labels.read_text())


def delay_hours(label, anomalies):
    """Hours from an incident's start to the end of the first anomaly that it covers; None where there is none."""
    start, end = time(label["from"]), time(label["to"])
    hours = (
        time(anomaly["window_end"])
        for anomaly in anomalies
        if anomaly["key"] == label["agent_id"] and start < time(anomaly["window_end"]) and time(anomaly["window_start"]) < end
    )
    first = min(hours, default=None)
    return None if first is None else (first - start).total_seconds() / 3600


def time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def run(flags, *arguments):
    command = [flags.driftline, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
