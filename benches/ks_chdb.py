#!/usr/bin/env python3
"""`ks_test` over ten million values in one query, beside ClickHouse's kolmogorovSmirnovTest by chdb.

usage: benches/ks_chdb.py [--values 10000000] [--rounds 7] [--driftline BINARY] [--json FILE]

Both engines make the same values in the query, whole numbers of a quadratic congruence as doubles, in no order, one in
three of the current sample and shifted; so neither reads a file, and what is measured is collecting, sorting and
testing. Driftline is asked
over HTTP, chdb in its own process. Rounds alternate; the medians are compared, and what making the values alone
takes is told beside them. D must agree to 1e-9, as must the counts.

Needs the Python package chdb. Different answers fail; times never do.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.parse

from peers import OPENER, Server, Wrong, find_binary

# What makes a value of its number, and by how much the current sample is shifted.
SAMPLES = {
    "nearly all different": ("({i} * {i} * 48271 + {i} * 16807) % 2147483647", 20_000_000),
    "many equal": ("({i} * {i} * 48271 + {i} * 16807) % 2147483647 % 5000", 50),
}


class Driftline:
    name = "driftline"

    def __init__(self, server):
        self.server = server

    def rows(self, sample, values, expression):
        value, shift = sample[0].format(i="value"), sample[1]
        statement = (
            f"select {expression} from (select cast({value} + case when value % 3 = 0 then {shift} else 0 end as double)"
            f" as x, value % 3 = 0 as c from generate_series(0, {values - 1}))"
        )
        query = urllib.parse.urlencode({"q": statement})
        with OPENER.open(f"{self.server.url}/api/v1/sql?{query}", timeout=600) as response:
            return json.load(response)[0]

    def test(self, sample, values):
        row = self.rows(sample, values, "ks_test(x, c) as t")["t"]
        return row["statistic"], row["p_value"], row["n_reference"] + row["n_current"]

    def only_values(self, sample, values):
        self.rows(sample, values, "sum(x) as s, sum(cast(c as int)) as c")


class Chdb:
    name = "chdb"

    def __init__(self, session):
        self.session = session

    def rows(self, sample, values, expression):
        value, shift = sample[0].format(i="toInt64(number)"), sample[1]
        statement = (
            f"select {expression} from (select toFloat64({value} + if(number % 3 = 0, {shift}, 0)) as x,"
            f" number % 3 = 0 as c from numbers_mt({values}))"
        )
        return json.loads(self.session.query(statement, "JSONEachRow").data())

    def test(self, sample, values):
        expression = "kolmogorovSmirnovTest('two-sided', 'asymptotic')(x, c) as t, toFloat64(count()) as n"
        row = self.rows(sample, values, expression)
        return float(row["t"]["d_statistic"]), float(row["t"]["p_value"]), int(row["n"])

    def only_values(self, sample, values):
        self.rows(sample, values, "sum(x) as s, sum(c) as c")


def timed(action):
    start = time.perf_counter()
    answer = action()
    return (time.perf_counter() - start) * 1e3, answer


def race(engines, sample, values, rounds):
    """Medians in ms of the test and of the values alone, by engine. Raises where answers differ."""
    tests, bare = ({engine.name: [] for engine in engines} for _ in range(2))
    for round_number in range(rounds + 1):
        answers = {}
        for engine in engines:
            ms, answers[engine.name] = timed(lambda: engine.test(sample, values))
            bare_ms, _ = timed(lambda: engine.only_values(sample, values))
            # The first round warms up.
            if round_number > 0:
                tests[engine.name].append(ms)
                bare[engine.name].append(bare_ms)
        (d, p, n), (peer_d, peer_p, peer_n) = (answers[engine.name] for engine in engines)
        if n != peer_n or not math.isclose(d, peer_d, rel_tol=1e-9):
            raise Wrong(f"D is {d} of {n} values, and {peer_d} of {peer_n} by {engines[1].name}")
    return {
        "d": d, "p_value": p, "peer_p_value": peer_p,
        "test_ms": {name: statistics.median(times) for name, times in tests.items()},
        "values_ms": {name: statistics.median(times) for name, times in bare.items()},
    }


def show(name, found):
    test, bare = found["test_ms"], found["values_ms"]
    print(
        f"{name}: D {found['d']:.9f}; driftline {test['driftline']:.0f} ms, chdb {test['chdb']:.0f} ms,"
        f" {test['chdb'] / test['driftline']:.2f} times; values alone {bare['driftline']:.0f} and {bare['chdb']:.0f} ms"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--driftline", help="the binary; otherwise $DRIFTLINE or the release build")
    parser.add_argument("--json", help="writes the figures there")
    options = parser.parse_args()
    try:
        import chdb
        from chdb.session import Session
    except ImportError:
        print("chdb is not installed: pip install chdb", file=sys.stderr)
        return 2
    figures = {"values": options.values, "cores": os.cpu_count(), "chdb": chdb.__version__}
    print(f"{options.values:,} values, {os.cpu_count()} cores, median of {options.rounds}, chdb {chdb.__version__}")
    try:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            with Server(find_binary(options.driftline), work / "data", work / "server.log") as server:
                engines = [Driftline(server), Chdb(Session())]
                for name, sample in SAMPLES.items():
                    figures[name] = race(engines, sample, options.values, options.rounds)
                    show(name, figures[name])
    except Wrong as wrong:
        print(f"ks_chdb: {wrong}", file=sys.stderr)
        return 1
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
