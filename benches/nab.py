#!/usr/bin/env python3
"""`driftline detect` on series of the Numenta Anomaly Benchmark (NAB), scored as NAB does.

usage: benches/nab.py DATA_DIR SCORER [--driftline BINARY] [--keep DIRECTORY] [--json FILE] [--least 58]

  DATA_DIR  holds windows.json ({"group/file.csv": [[start, end], ...]}, as NAB's combined_windows.json) and
            group/file.csv, or group/file.csv.gz, with the columns timestamp and value
  SCORER    a script that is called with DATA_DIR and a directory of group/file.csv, a header and one anomaly_score per
            row each, and prints one line per profile, its name and the total; the threshold is its choice, one for all

Each series is written to the standard input of a process of its own, a line at a time: what a score is made of is what
came before it. Prints what one threshold finds in each series (the best one for the standard profile), and the totals
as the scorer says them; the exit code is 1 where the standard profile is below `--least`. `--keep` leaves the scores in a directory. Needs what the scorer needs; nothing else.
"""

import argparse
import csv
import gzip
import json
import math
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

# The standard profile: what a false positive costs; a window that is missed costs 1.
FALSE_POSITIVE = 0.11
PROBATION_SHARE, PROBATION_MAX = 0.15, 750


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("scorer", type=pathlib.Path)
    parser.add_argument("--driftline", default="target/release/driftline")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--least", type=float, default=58.0)
    flags = parser.parse_args()
    windows = json.loads((flags.data / "windows.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        scores = flags.keep or pathlib.Path(scratch)
        with ThreadPoolExecutor(2) as pool:
            series = list(pool.map(lambda name: Series(flags, name, windows[name], scores), sorted(windows)))
        scored = subprocess.run(
            [sys.executable, flags.scorer, flags.data, scores], capture_output=True, text=True, check=False
        )
    if scored.returncode:
        sys.exit(f"{flags.scorer} failed: {scored.stderr.strip()}")
    threshold = best_threshold(series)
    print(f"one threshold for all: {threshold}\n{'series':58} {'windows':>7} {'found':>5} {'false':>5} {'points':>7}")
    for one in series:
        found, false, points = one.outcome(threshold)
        print(f"{one.name:58} {len(one.spans):7} {found:5} {false:5} {points:7.2f}")
    totals = {name: float(total) for name, total in (line.split() for line in scored.stdout.splitlines())}
    for name, total in totals.items():
        print(f"{name} {total:.2f}")
    if flags.json:
        flags.json.write_text(json.dumps({"threshold": threshold, "totals": totals}) + "\n")
    return int(totals["standard"] < flags.least)


class Series:
    """One series: what each of its points is worth, and its scores."""

    def __init__(self, flags, name, windows, directory):
        self.name = name
        text = read(flags.data / name)
        stamps = [row["timestamp"][:19] for row in csv.DictReader(text.splitlines())]
        first = {stamp: index for index, stamp in reversed(list(enumerate(stamps)))}
        self.spans = [(first[start[:19]], first[end[:19]]) for start, end in windows]
        self.from_index = min(math.floor(PROBATION_SHARE * len(stamps)), PROBATION_MAX)
        done = subprocess.run([flags.driftline, "detect", "-"], input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: driftline detect failed: {done.stderr.strip()}")
        self.scores = [float(row["anomaly_score"]) for row in csv.DictReader(done.stdout.splitlines())]
        if len(self.scores) != len(stamps):
            sys.exit(f"{name}: {len(self.scores)} scores for {len(stamps)} rows")
        self.alarms = [
            (score, *self.worth(index))
            for index, score in enumerate(self.scores)
            if index >= self.from_index and score > 0
        ]
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(done.stdout)

    def outcome(self, threshold):
        """Windows found, false positives, and points: at most 1 for each window, and -1 for one that is missed."""
        best, false, cost = [-1.0] * len(self.spans), 0, 0.0
        for score, inside, worth in self.alarms:
            if score < threshold:
                continue
            if inside is None:
                false += 1
                cost += FALSE_POSITIVE * worth
            else:
                best[inside] = max(best[inside], worth)
        return sum(points > -1 for points in best), false, sum(best) + cost

    def worth(self, index):
        """The window that a point is in, and what an alarm at it is worth: the earlier in the window, the more."""
        for at, (start, end) in reversed(list(enumerate(self.spans))):
            if start <= index <= end:
                return at, sigmoid(-(end - index + 1) / (end - start + 1)) / sigmoid(-1)
        before = [(start, end) for start, end in self.spans if end < index]
        return None, sigmoid((index - before[-1][1]) / (before[-1][1] - before[-1][0])) if before else -1.0


def sigmoid(x):
    return -1.0 if x > 3 else 2 / (1 + math.exp(5 * x)) - 1


def best_threshold(series):
    """The threshold of the most points in the standard profile. Few scores are not 0: the detector rests."""
    candidates = {score for one in series for score, _, _ in one.alarms}
    return max(sorted(candidates), key=lambda threshold: sum(one.outcome(threshold)[2] for one in series), default=1.0)


def read(path):
    if path.exists():
        return path.read_text()
    return gzip.decompress(path.with_name(path.name + ".gz").read_bytes()).decode()


if __name__ == "__main__":
    sys.exit(main())
