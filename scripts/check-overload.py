#!/usr/bin/env python3
"""Overload from outside, against default settings: does the server stay within its memory, stay up, answer
everybody, and keep all that it acknowledged?

usage: scripts/check-overload.py [--seconds 120] [--seed 1] [--records 200000] [--data DIR] [--phases LIST]
                                 [--kill-mib 3072] [--hostile] [--json FILE]

RECORDS records are loaded first, so that there is something to query. Then come these phases, each for a
part of SECONDS, and until its last request is answered:

  writers  44 senders that do not wait when they are refused: small bodies, bodies as large as `body_bytes_max`
           lets them be, plain and gzip, and bodies that are too large, as sent or decompressed
  tiny     8 senders of gzip bodies within `body_bytes_max` of millions of records of one field, and 4 ordinary ones
  junk     the same with millions of lines that are no record
  huge     the same with records as long as they may be, and with one that is longer
  slow     100 senders of a few bytes a second, 50 that never end their request's head, and 8 ordinary ones
  queries  50 askers of heavy statements: sorts of everything, groups of high cardinality, joins, cross joins,
           windows, whole tables as JSON, Arrow and Parquet; five of them read slowly. Nothing is written, so
           answers are compared with those of the same statement asked alone
  all      everything at once

A watcher of its own process looks at resident memory every 20 ms and kills the server past KILL_MIB, so that a
machine that does other things survives the check; the phase has failed then, and the next one begins with a
restart. So it does where /healthz does not answer within a minute of a phase's end. VmHWM is set back between
phases, so each has a peak of its own. Another process asks /healthz five times a second. With --hostile there are statements whose functions make huge texts, which nobody asks by
accident.
"""

import argparse
import collections
import ctypes
import gzip
import hashlib
import http.client
import json
import multiprocessing
import os
import pathlib
import queue
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.parse

from served import (MIB, Broken, Claims, Connection, Server, generate, machine, markdown, mib, quantile, run_threads,
                    version, watch)

MEMORY_BYTES_MAX = 1 << 30
BODY_BYTES_MAX = 64 * MIB
RECORD_BYTES_MAX = 4 << 20
PHASES = ("writers", "tiny", "junk", "huge", "slow", "queries", "all")
HEALTH_SECONDS_MAX, HEALTH_PAUSE_SECONDS = 1.0, 0.2
# No answer takes longer: a statement may run for 60 s, and a body may wait for its turn.
REQUEST_SECONDS_MAX = 150
BASELINE_SECONDS_MAX = 120
REFUSED_PAUSE_SECONDS = 0.1
RECOVER_SECONDS_MAX = 60
SETTLE_SECONDS = 30
LOAD_LINES = 2000
SLOW_SENDERS, HALF_OPEN, ASKERS, SLOW_READERS = 100, 50, 50, 5
CONTEXT = multiprocessing.get_context("fork")
NDJSON = {"Content-Type": "application/x-ndjson"}
GZIP = {**NDJSON, "Content-Encoding": "gzip"}


class Body:
    """What one kind of sender sends, and what may be answered."""

    def __init__(self, kind, data, headers, records, statuses, senders):
        self.kind, self.data, self.headers, self.senders = kind, data, headers, senders
        # Rows and prompt tokens that it adds when it is taken.
        self.sums = (len(records), sum(record.get("prompt_tokens") or 0 for record in records))
        # Refusals (429, 503) may always be answered.
        self.statuses = statuses


def long_record(size):
    """A line of one record of so many bytes, without its end."""
    head, tail = b'{"request_id":"fat","text":"', b'"}'
    return head + b"y" * (size - len(head) - len(tail)) + tail + b"\n"


def bodies(lines):
    """Every kind of body, by phase."""
    parsed = [json.loads(line) for line in lines]

    def of(kind, senders, count, headers=NDJSON, statuses=(200,)):
        data = b"".join(lines[:count])
        return Body(kind, pack(data) if headers is GZIP else data, headers, parsed[:count], statuses, senders)

    fitting = largest(lines)
    blank = pack(b"\n" * (BODY_BYTES_MAX - 1))
    thin_line = b'{"a":1}\n'
    thin_count = (BODY_BYTES_MAX - 1) // len(thin_line)
    junk = b'{"a":1}\n' + b"x\n" * ((BODY_BYTES_MAX - 16) // 2)
    fat = long_record(RECORD_BYTES_MAX)
    fat_count = BODY_BYTES_MAX // len(fat)
    too_fat = long_record(BODY_BYTES_MAX - 64) + b'{"a":1}\n'
    # Such a body may be refused for what it is, as long as the answer says so.
    refusable = (200, 400, 413, 422)
    thin = Body("millions of tiny records, gzip", pack(thin_line * thin_count), GZIP, [], refusable, 8)
    thin.sums = (thin_count, 0)
    return {
        "writers": [
            of("small", 20, 100),
            of("medium, gzip", 8, 2000, GZIP),
            of("as large as it may be", 4, fitting),
            of("as large as it may be, gzip", 4, fitting, GZIP),
            Body("too large", b"x" * (BODY_BYTES_MAX + MIB), NDJSON, [], (413,), 2),
            Body("too large, gzip", pack(b"\n" * (BODY_BYTES_MAX + 1)), GZIP, [], (413,), 2),
            Body("far too large, gzip", pack_zeros(4 << 30), GZIP, [], (413,), 2),
            Body("nothing but empty lines, gzip", blank, GZIP, [], (400,), 2),
        ],
        "tiny": [thin, of("small beside tiny", 4, 100)],
        "junk": [
            Body("millions of lines that are no record, gzip", pack(junk), GZIP, [{}], refusable, 8),
            of("small beside junk", 4, 100),
        ],
        "huge": [
            Body("records as long as they may be, gzip", pack(fat * fat_count), GZIP, [{}] * fat_count, refusable, 6),
            Body("a record that is too long before one that is not, gzip", pack(too_fat), GZIP, [{}], refusable, 2),
            of("small beside huge", 4, 100),
        ],
        "slow": [of("small beside slow senders", 8, 100)],
        "queries": [],
    }


def largest(lines):
    """How many lines fit into one body."""
    size = 0
    for count, line in enumerate(lines):
        size += len(line)
        if size > BODY_BYTES_MAX:
            return count
    return len(lines)


def pack(data):
    return gzip.compress(data, 6)


def pack_zeros(size):
    """That many empty lines, as gzip of several members: made without holding them."""
    member = pack(b"\n" * (16 * MIB))
    return member * (size // (16 * MIB))


class Outcome:
    """What became of a body that was sent."""

    def __init__(self, kind, sums, status, seconds, retry_after=None, error=None, seq=None, accepted=None):
        self.kind, self.sums, self.status, self.seconds = kind, sums, status, seconds
        self.retry_after, self.error, self.seq, self.accepted = retry_after, error, seq, accepted
        # The clock is the same in all processes.
        self.at = time.monotonic()


class Asked:
    """What became of a statement."""

    def __init__(self, name, status, seconds, retry_after=None, error=None, result=None, cut=False):
        self.name, self.status, self.seconds = name, status, seconds
        self.retry_after, self.error, self.result, self.cut = retry_after, error, result, cut


def send_bodies(address, kinds, stop, said, seed):
    """The senders: a process of as many threads."""

    def send(kind, sender):
        connection = Connection(address, REQUEST_SECONDS_MAX)
        number = 0
        while not stop.is_set():
            headers = {**kind.headers, "Idempotency-Key": f"{seed}-{os.getpid()}-{kind.kind}-{sender}-{number}"}
            number += 1
            started = time.monotonic()
            try:
                answer = connection.ask("POST", "/api/v1/logs", kind.data, headers)
            except Broken as error:
                said.put(Outcome(kind.kind, kind.sums, None, time.monotonic() - started, error=str(error)))
                time.sleep(REFUSED_PAUSE_SECONDS)
                continue
            outcome = Outcome(kind.kind, kind.sums, answer.status, answer.seconds, answer.retry_after())
            if answer.status == 200:
                taken = answer.json()
                outcome.seq, outcome.accepted = taken["seq"], taken["accepted"]
            else:
                outcome.error = answer.error()
            said.put(outcome)
            if answer.status != 200:
                time.sleep(REFUSED_PAUSE_SECONDS)

    run_threads([(send, (kind, sender)) for kind in kinds for sender in range(kind.senders)])


def send_slowly(address, stop):
    """Senders that hold what they get for as long as they can."""

    def trickle(head, piece):
        while not stop.is_set():
            try:
                with socket.create_connection(address, timeout=10) as connection:
                    connection.sendall(head)
                    while not stop.wait(1):
                        connection.sendall(piece)
            except OSError:
                stop.wait(1)

    head = f"POST /api/v1/logs HTTP/1.1\r\nHost: {address[0]}\r\nContent-Type: application/x-ndjson\r\n".encode()
    body = head + b"Content-Length: 1048576\r\n\r\n"
    run_threads([(trickle, (body, b'{"a":1}\n'))] * SLOW_SENDERS + [(trickle, (head, b"X-Slow: 1\r\n"))] * HALF_OPEN)


class Statement:
    """A heavy statement. `compare` is `text` where the answer is small and has one form, `rows` where only
    its number of rows has, None where it may take too long to be answered at all."""

    def __init__(self, name, text, compare, form="jsonl"):
        self.name, self.compare = name, compare
        self.target = "/api/v1/sql?" + urllib.parse.urlencode({"q": text, "format": form})


STATEMENTS = [
    Statement("sort of everything", "select * from agent_logs order by latency_ms, request_id", "rows"),
    Statement("sort by all ids", "select request_id, session_id, trace_id, user_id, attributes from agent_logs "
              "order by user_id, session_id, trace_id, request_id, attributes", "rows"),
    Statement("group by session", "select session_id, count(*) as n, sum(total_tokens) as t, max(timestamp) as m "
              "from agent_logs group by session_id order by n desc, session_id limit 1000", "text"),
    Statement("group by request", "select request_id, trace_id, count(*) as n, max(attributes) as a, min(timestamp) as f "
              "from agent_logs group by request_id, trace_id", "rows"),
    Statement("different ids", "select count(distinct request_id) as r, count(distinct session_id) as s, "
              "count(distinct trace_id) as t from agent_logs", "text"),
    Statement("different rows", "select distinct request_id, session_id, trace_id, user_id, attributes from agent_logs",
              "rows"),
    Statement("cross join with a limit", "select a.request_id as a, b.request_id as b, b.attributes as c "
              "from agent_logs a cross join agent_logs b limit 200000", "rows"),
    Statement("cross join", "select count(*) as n from agent_logs a cross join agent_logs b "
              "where a.latency_ms < b.latency_ms", None),
    Statement("join of many with many", "select count(*) as n from agent_logs a join agent_logs b "
              "on a.agent_id = b.agent_id where a.prompt_tokens < b.completion_tokens", None),
    Statement("window", "select request_id, row_number() over (partition by session_id order by timestamp, request_id) "
              "as n, sum(total_tokens) over (partition by user_id) as t from agent_logs", "rows"),
    Statement("one array of all", "select array_length(array_agg(request_id order by latency_ms)) as n from agent_logs",
              "text"),
    Statement("the table as JSON", "select * from agent_logs", "rows"),
    Statement("the table as Arrow", "select * from agent_logs", None, "arrow"),
    Statement("the table as Parquet", "select * from agent_logs", None, "parquet"),
    Statement("sessions", "select * from sessions order by cost desc, session_id", "rows"),
]
HOSTILE = [
    Statement("huge texts", "select count(distinct repeat(request_id, 100000)) as n from agent_logs", None),
    Statement("one huge text", "select length(string_agg(repeat(request_id, 1000), ',')) as n from agent_logs", None),
    Statement("endless rows", "select count(distinct value) as n from generate_series(1, 100000000000)", None),
]


class Taker:
    """Reads an answer in pieces and knows how far it came."""

    def __init__(self, statement, pause=0.0, stop=None):
        self.statement, self.pause, self.stop = statement, pause, stop
        self.status, self.rows, self.size, self.digest = None, 0, 0, hashlib.sha256()

    def take(self, response):
        self.status = response.status
        if self.status != 200:
            return response.read()
        while piece := response.read1(1 << 18):
            self.size += len(piece)
            self.rows += piece.count(b"\n")
            if self.statement.compare == "text":
                self.digest.update(piece)
            if self.pause:
                time.sleep(self.pause)
                if self.stop.is_set():
                    raise http.client.HTTPException("a slow reader gave up")
        # Chunks that end too early read as an end.
        if response.chunked and response.chunk_left is not None or response.length:
            raise http.client.IncompleteRead(b"")
        return b""

    def result(self):
        return {"text": self.digest.hexdigest(), "rows": self.rows}.get(self.statement.compare)


def ask_one(address, statement, taker):
    connection = Connection(address, REQUEST_SECONDS_MAX)
    started = time.monotonic()
    try:
        answer = connection.ask("GET", statement.target, take=taker.take)
    except Broken as error:
        return Asked(statement.name, taker.status, time.monotonic() - started, error=str(error), cut=True)
    finally:
        connection.close()
    if answer.status == 200:
        return Asked(statement.name, 200, answer.seconds, result=taker.result())
    return Asked(statement.name, answer.status, answer.seconds, answer.retry_after(), answer.error())


def ask_statements(address, statements, stop, said):
    """The askers: a process of as many threads."""

    def ask(asker):
        number = asker
        while not stop.is_set():
            statement = statements[number % len(statements)]
            number += 1
            asked = ask_one(address, statement, Taker(statement))
            said.put(asked)
            if asked.status != 200:
                time.sleep(REFUSED_PAUSE_SECONDS)

    def read_slowly():
        table = Statement("the table as JSON, read slowly", "select * from agent_logs", None)
        while not stop.is_set():
            asked = ask_one(address, table, Taker(table, 1.0, stop))
            # Its own giving up is no failure.
            if not (asked.cut and stop.is_set()):
                said.put(asked)
            time.sleep(REFUSED_PAUSE_SECONDS)

    run_threads([(ask, (asker,)) for asker in range(ASKERS - SLOW_READERS)] + [(read_slowly, ())] * SLOW_READERS)


def probe(address, stop, said):
    """Asks /healthz on a new connection each time."""
    while not stop.wait(HEALTH_PAUSE_SECONDS):
        started = time.monotonic()
        connection = Connection(address, 10)
        try:
            answer = connection.ask("GET", "/healthz")
            said.put((started, answer.seconds, None if answer.status == 200 else str(answer.status)))
        except Broken as error:
            said.put((started, time.monotonic() - started, str(error)))
        finally:
            connection.close()


class Phase:
    """One phase's figures."""

    def __init__(self, name):
        self.name, self.peak, self.killed, self.ended = name, 0, False, False
        self.wedged = None
        self.sent, self.asked, self.health = [], [], []
        self.seconds = self.load_end = 0.0


class Overload:
    """The phases one after the other, on one directory."""

    def __init__(self, options, work, data):
        self.options, self.work, self.data = options, work, data
        self.claims = Claims()
        days = 10
        lines = generate(work / "text.ndjson", options.seed, "2026-05-01T00:00:00Z", days, options.records // days)
        self.lines = lines
        self.bodies = bodies(lines)
        self.acked, self.unknown = {}, []
        self.baseline, self.alone = {}, []
        self.phases = []
        self.statements = STATEMENTS + (HOSTILE if options.hostile else [])
        self.server = None
        self.start()

    def start(self):
        """A server with a watcher."""
        self.server = Server(self.data, self.work)
        self.killed = CONTEXT.Value(ctypes.c_bool, False)
        self.peak = CONTEXT.Value(ctypes.c_longlong, 0)
        arguments = (self.server.child.pid, self.options.kill_mib * MIB, self.killed, self.peak)
        CONTEXT.Process(target=watch, args=arguments, daemon=True).start()
        self.server.wait_ready()

    def load(self):
        connection = Connection(self.server.address, REQUEST_SECONDS_MAX)
        for start in range(0, len(self.lines), LOAD_LINES):
            lines = self.lines[start:start + LOAD_LINES]
            headers = {**NDJSON, "Idempotency-Key": f"history-{self.options.seed}-{start}"}
            answer = connection.ask("POST", "/api/v1/logs", b"".join(lines), headers)
            while answer.status == 503:
                time.sleep(answer.retry_after() or 1)
                answer = connection.ask("POST", "/api/v1/logs", b"".join(lines), headers)
            if answer.status != 200:
                raise SystemExit(f"the history is not taken: {answer.status} {answer.error()}")
            tokens = sum(json.loads(line).get("prompt_tokens") or 0 for line in lines)
            self.acked[answer.json()["seq"]] = (len(lines), tokens)
        connection.close()

    def ask_alone(self):
        """The answer of each statement that has one, while nothing else goes on."""
        for statement in self.statements:
            if statement.compare:
                asked = ask_one(self.server.address, statement, Taker(statement))
                if asked.status == 200 and not asked.cut:
                    self.baseline[statement.name] = asked.result
                self.alone.append((statement.name, asked))

    def run(self):
        for name in self.options.phases:
            if not self.server.runs():
                try:
                    self.start()
                except SystemExit as error:
                    self.claims.check(f"{name}: the server starts again", False, str(error))
                    return
            self.run_phase(name)

    def run_phase(self, name):
        phase = Phase(name)
        self.phases.append(phase)
        if name == "queries":
            self.ask_alone()
        address, stop, said, health = self.server.address, CONTEXT.Event(), CONTEXT.Queue(), CONTEXT.Queue()
        health_stop = CONTEXT.Event()
        self.server.process.forget_peak()
        self.peak.value = 0
        kinds = [kind for group in self.bodies.values() for kind in group] if name == "all" else self.bodies[name]
        crowds = []
        if name in ("slow", "all"):
            crowds.append((send_slowly, (address, stop)))
        if kinds:
            crowds.append((send_bodies, (address, kinds, stop, said, f"{self.options.seed}-{name}")))
        if name in ("queries", "all"):
            crowds.append((ask_statements, (address, self.statements, stop, said)))
        processes = [CONTEXT.Process(target=target, args=arguments, daemon=True) for target, arguments in crowds]
        prober = CONTEXT.Process(target=probe, args=(address, health_stop, health), daemon=True)
        started = time.monotonic()
        prober.start()
        for process in processes:
            process.start()
            # The slow ones hold what they hold before others come.
            time.sleep(1)
        end = started + self.options.seconds / len(self.options.phases)
        while time.monotonic() < end and self.server.runs():
            self.gather(said, phase)
            time.sleep(0.1)
        stop.set()
        phase.load_end = time.monotonic()
        self.rss_under_load = self.server.process.resident()
        patience = time.monotonic() + REQUEST_SECONDS_MAX + 30
        while any(process.is_alive() for process in processes) and time.monotonic() < patience:
            self.gather(said, phase)
            time.sleep(0.05)
        phase.seconds = time.monotonic() - started
        for process in processes:
            if process.is_alive():
                process.kill()
        self.gather(said, phase)
        health_stop.set()
        prober.join(15)
        while True:
            try:
                phase.health.append(health.get(timeout=0.2))
            except queue.Empty:
                break
        phase.killed, phase.ended = self.killed.value, not self.server.runs()
        phase.peak = max(self.peak.value, self.server.process.status().get("VmHWM", 0))
        self.tell(phase)
        if not phase.ended:
            self.wait_until_well(phase)

    def wait_until_well(self, phase):
        """What a phase left behind is no part of the next one."""
        started = time.monotonic()
        while time.monotonic() < started + RECOVER_SECONDS_MAX:
            try:
                if self.server.ask("GET", "/healthz", timeout=HEALTH_SECONDS_MAX).status == 200:
                    phase.wedged = False
                    self.wait_until_committed()
                    return
            except Broken:
                time.sleep(0.2)
        phase.wedged = True
        self.server.kill()

    def wait_until_committed(self):
        """Until the rows of a phase take no memory any more; not for ever, the next phase begins anyhow."""
        deadline = time.monotonic() + RECOVER_SECONDS_MAX
        while time.monotonic() < deadline and self.server.runs():
            try:
                if self.server.status()["books"]["buffered"] == 0:
                    return
            except Broken:
                pass
            time.sleep(0.5)

    def gather(self, said, phase):
        while True:
            try:
                outcome = said.get_nowait()
            except queue.Empty:
                return
            if isinstance(outcome, Asked):
                phase.asked.append(outcome)
                continue
            phase.sent.append(outcome)
            if outcome.status == 200:
                self.acked[outcome.seq] = outcome.sums
            elif outcome.status is None or outcome.status >= 500 and outcome.status != 503:
                self.unknown.append(outcome.sums)

    def tell(self, phase):
        print(f"      {phase.name}: {phase.seconds:.0f} s, peak {mib(phase.peak)}, bodies {bodies_of(phase.sent)}, "
              f"statements {statements_of(phase.asked)}", flush=True)

    # What is claimed.

    def judge(self):
        for phase in self.phases:
            self.judge_phase(phase)
        for name, asked in self.alone:
            if name not in self.baseline:
                self.claims.note(f"{name}, asked alone", f"has no answer: {asked.status} {asked.error}")

    def judge_phase(self, phase):
        check, name = self.claims.check, phase.name
        why = "killed by the watcher" if phase.killed else "it ended" if phase.ended else "it runs"
        check(f"{name}: the server stays up", not phase.ended, why)
        check(f"{name}: memory stays below 1 GiB", phase.peak < MEMORY_BYTES_MAX, f"at most {mib(phase.peak)}")
        slow = [seconds for _, seconds, _ in phase.health if seconds > HEALTH_SECONDS_MAX]
        failed = [error for _, _, error in phase.health if error]
        longest = max((seconds for _, seconds, _ in phase.health), default=0)
        said = f"{len(phase.health)} times, at most {longest:.3f} s, {len(slow)} later than {HEALTH_SECONDS_MAX:g} s"
        check(f"{name}: /healthz answers within {HEALTH_SECONDS_MAX:g} s",
              phase.health and not slow and (not failed or phase.ended), said + (f", {failed[0]}" if failed else ""))
        if phase.wedged is not None:
            check(f"{name}: the server is well again within {RECOVER_SECONDS_MAX} s of the last request", not phase.wedged,
                  "/healthz does not answer; it was killed" if phase.wedged else "/healthz answers")
        if phase.sent:
            self.judge_bodies(phase)
        if phase.asked:
            self.judge_statements(phase)

    def judge_bodies(self, phase):
        check, name = self.claims.check, phase.name
        allowed = {kind.kind: kind.statuses for group in self.bodies.values() for kind in group}
        refused = [outcome for outcome in phase.sent if outcome.status in (429, 503)]
        bare = [outcome for outcome in refused if outcome.retry_after is None or not outcome.error]
        check(f"{name}: refused bodies are told when to come back", not bare,
              f"{len(refused)} refused" + (f", {len(bare)} without Retry-After or reason" if bare else ""))
        others = [outcome for outcome in phase.sent if outcome.status not in (None, 200, 429, 503)]
        wrong = [outcome for outcome in phase.sent if outcome.status not in (None, 429, 503, *allowed[outcome.kind])]
        shapeless = [outcome for outcome in others if not outcome.error]
        bad = wrong + shapeless
        check(f"{name}: other answers are what the body deserves", not bad,
              f"{len(phase.sent) - len(refused)} answers" if not bad else
              f"{len(bad)} are not, the first: {bad[0].kind}: {bad[0].status} {bad[0].error}")
        short = [outcome for outcome in phase.sent if outcome.status == 200 and outcome.accepted != outcome.sums[0]]
        check(f"{name}: no record of a body that was taken is rejected", not short,
              f"{sum(outcome.accepted or 0 for outcome in phase.sent):,} records taken" if not short else
              f"{short[0].kind}: {short[0].accepted} of {short[0].sums[0]}")
        broken = [outcome for outcome in phase.sent if outcome.status is None]
        # One who sends more than is taken may find the connection closed before the answer is read.
        unanswered = [outcome for outcome in broken if outcome.kind != "too large"]
        check(f"{name}: every body is answered", not unanswered,
              f"after at most {max(outcome.seconds for outcome in phase.sent):.1f} s" if not unanswered else
              f"{len(unanswered)} are not, the first: {unanswered[0].kind} after {unanswered[0].seconds:.1f} s: "
              f"{unanswered[0].error}")
        small = [outcome for outcome in phase.sent if outcome.kind.startswith("small")]
        if small:
            taken = [outcome for outcome in small if outcome.status == 200 and outcome.at < phase.load_end]
            check(f"{name}: small bodies are taken while the load lasts", taken,
                  f"{len(taken)} of {len(small)}, after at most "
                  f"{max((outcome.seconds for outcome in taken), default=0):.1f} s")

    def judge_statements(self, phase):
        check, name = self.claims.check, phase.name
        refused = [asked for asked in phase.asked if asked.status in (429, 503)]
        bare = [asked for asked in refused if asked.retry_after is None or not asked.error]
        check(f"{name}: refused statements are told when to come back", not bare, f"{len(refused)} refused")
        answered = [asked for asked in phase.asked if asked.status == 200 and not asked.cut]
        wrong = []
        if name == "queries":
            wrong = [asked for asked in answered if asked.name in self.baseline
                     and asked.result != self.baseline[asked.name]]
        check(f"{name}: statements that are answered are answered rightly", not wrong,
              f"{len(answered)} answered" if not wrong else f"{len(wrong)} wrong, the first: {wrong[0].name}: "
              f"{wrong[0].result}, alone it was {self.baseline[wrong[0].name]}")
        clear = [asked for asked in phase.asked if asked.status in (408, 422) and asked.error]
        # A long result that fails in its middle can only break off.
        cut = [asked for asked in phase.asked if asked.cut and asked.status == 200]
        silent = [asked for asked in phase.asked if asked.status is None]
        check(f"{name}: every statement is answered", not silent,
              f"after at most {max(asked.seconds for asked in phase.asked):.1f} s" if not silent else
              f"{len(silent)} are not, the first: {silent[0].name} after {silent[0].seconds:.1f} s: {silent[0].error}")
        bad = [asked for asked in phase.asked if asked.status not in (None, 200, 408, 422, 429, 503)
               or asked.status in (408, 422) and not asked.error]
        check(f"{name}: statements that fail say why", not bad,
              f"{len(clear)} with 408 or 422, {len(cut)} long results broke off" if not bad else
              f"{len(bad)} do not, the first: {bad[0].name}: {bad[0].status} {bad[0].error}")

    def recover(self):
        """Back to normal once the load has gone."""
        check = self.claims.check
        if not self.server.runs():
            try:
                self.start()
            except SystemExit as error:
                check("afterwards: the server starts again", False, str(error))
                return False
        deadline, last = time.monotonic() + RECOVER_SECONDS_MAX, "nothing was asked"
        while time.monotonic() < deadline:
            try:
                self.server.rows("select count(*) as n from agent_logs", RECOVER_SECONDS_MAX)
                last = None
                break
            except Broken as error:
                last = str(error)
                time.sleep(0.5)
        check("afterwards: a simple statement is answered", last is None,
              last or f"within {time.monotonic() - deadline + RECOVER_SECONDS_MAX:.1f} s")
        body = self.bodies["slow"][0]
        try:
            answer = self.server.ask("POST", "/api/v1/logs", body.data, {**NDJSON, "Idempotency-Key": "afterwards"})
            taken = answer.status == 200
            if taken:
                self.acked[answer.json()["seq"]] = body.sums
            said = f"{answer.status} after {answer.seconds:.1f} s"
        except Broken as error:
            taken, said = False, str(error)
            self.unknown.append(body.sums)
        check("afterwards: a batch is taken", taken, said)
        time.sleep(SETTLE_SECONDS)
        resident = self.server.process.resident()
        if not self.phases or self.phases[-1].ended or self.phases[-1].wedged:
            self.claims.note("afterwards: memory falls or stays", f"{mib(resident)} after a restart")
        else:
            check("afterwards: memory falls or stays", resident <= self.rss_under_load * 1.05,
                  f"{mib(resident)}, under load {mib(self.rss_under_load)}")
        return True

    def judge_store(self, when):
        """Each acknowledged batch is there once; one whose answer never came may be there once or not."""
        check = self.claims.check
        try:
            found = {row["ingest_seq"]: (row["n"], row["p"] or 0) for row in self.server.rows(
                "select ingest_seq, count(*) as n, sum(prompt_tokens) as p from agent_logs group by ingest_seq")}
            books = self.server.status()["books"]
        except Broken as error:
            check(f"{when}: the store can be asked", False, str(error))
            return
        missing = self.acked.keys() - found.keys()
        different = [seq for seq in self.acked.keys() & found.keys() if self.acked[seq] != found[seq]]
        unknown = collections.Counter(self.unknown)
        strange = collections.Counter(found[seq] for seq in found.keys() - self.acked.keys()) - unknown
        check(f"{when}: each acknowledged batch is there once, and nothing else",
              not (missing or different or strange),
              f"{len(self.acked):,} batches of {sum(rows for rows, _ in self.acked.values()):,} rows; "
              f"{len(missing)} missing, {len(different)} different, {sum(strange.values())} unknown; "
              f"{len(self.unknown)} batches without an answer")
        check(f"{when}: accepted = committed + buffered", books["accepted"] == books["committed"] + books["buffered"],
              f"{books['accepted']:,} = {books['committed']:,} + {books['buffered']:,}")

    # What is printed.

    def tables(self):
        phases = [(phase.name, f"{phase.seconds:.0f} s", mib(phase.peak),
                   f"{quantile([seconds for _, seconds, _ in phase.health], 0.99) or 0:.3f} s",
                   f"{max((seconds for _, seconds, _ in phase.health), default=0):.3f} s",
                   bodies_of(phase.sent), statements_of(phase.asked))
                  for phase in self.phases]
        kinds = collections.defaultdict(list)
        for phase in self.phases:
            for outcome in phase.sent:
                kinds[f"{phase.name}: {outcome.kind}"].append(outcome)
        statements = collections.defaultdict(list)
        for phase in self.phases:
            for asked in phase.asked:
                statements[f"{phase.name}: {asked.name}"].append(asked)
        return "\n\n".join([
            markdown(phases, ("phase", "time", "memory, peak", "/healthz p99", "/healthz longest", "bodies", "statements")),
            markdown([(name, bodies_of(outcomes), longest(outcomes))
                      for name, outcomes in kinds.items()], ("bodies", "answers", "longest")),
            markdown([(name, statements_of(many), longest(many))
                      for name, many in statements.items()], ("statement", "answers", "longest")),
        ])

    def shown(self):
        return [{
            "name": phase.name, "seconds": phase.seconds, "peak": phase.peak, "killed": phase.killed,
            "ended": phase.ended, "wedged": phase.wedged, "health": phase.health,
            "sent": [vars(outcome) for outcome in phase.sent], "asked": [vars(asked) for asked in phase.asked],
        } for phase in self.phases]


def bodies_of(outcomes):
    return counts(outcome.status or "no answer" for outcome in outcomes)


def statements_of(many):
    return counts("no answer" if asked.status is None else "broken off" if asked.cut else asked.status
                  for asked in many)


def counts(statuses):
    found = collections.Counter(map(str, statuses))
    return ", ".join(f"{count} × {status}" for status, count in sorted(found.items())) or "none"


def longest(outcomes):
    return f"{max(outcome.seconds for outcome in outcomes):.1f} s"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--data", type=pathlib.Path, help="a directory that is not there yet, and stays")
    parser.add_argument("--phases", default=",".join(PHASES), help="some of them, separated by commas")
    parser.add_argument("--kill-mib", type=int, default=3072)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, help="where claims and outcomes go")
    options = parser.parse_args()
    options.phases = options.phases.split(",")
    if not set(options.phases) <= set(PHASES):
        parser.error(f"the phases are {', '.join(PHASES)}")
    if options.data and options.data.exists() and any(options.data.iterdir()):
        parser.error(f"{options.data} is not empty: the check begins with nothing")
    return options


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="driftline-overload-"))
    overload = None
    # The server and its directory go, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        overload = Overload(options, work, options.data or work / "data")
        print(f"{version()} on {machine()}; {len(overload.lines):,} records of history", flush=True)
        overload.load()
        overload.run()
        overload.judge()
        if overload.recover():
            overload.judge_store("afterwards")
            overload.server.stop()
            try:
                overload.start()
                overload.judge_store("after a restart")
                overload.server.stop()
            except SystemExit as error:
                overload.claims.check("afterwards: the server starts again", False, str(error))
        print(f"\n{overload.tables()}\n")
        code = overload.claims.finish()
        if options.json:
            options.json.write_text(json.dumps({"claims": overload.claims.made, "phases": overload.shown()}, indent=1))
        return code
    finally:
        if overload is not None and overload.server is not None:
            overload.server.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
