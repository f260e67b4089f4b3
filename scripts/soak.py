#!/usr/bin/env python3
"""A soak: full ingest with queries and maintenance for as long as it is told, and what the server takes of
the machine meanwhile.

usage: scripts/soak.py [--minutes 30] [--seed 1] [--data DIR] [--writers 4] [--readers 2] [--disk-max-gb 20]
                       [--epoch-seconds 90] [--epochs-kept 4] [--records 40000] [--json FILE]

Writers, each a process of its own, post batches as fast as they are taken. The text is made once by
`driftline generate`; each post has an Idempotency-Key of its own, and ids and fractions of seconds whose digits
are exchanged; all else repeats after RECORDS records, so rows take somewhat less room on disk than those of
traffic that never repeats. One more writer sends 200 records a second with the present time, as agents do.
Every fiftieth batch has a line that is no record.

The disk is bounded by deleting history through the product. Time is cut into epochs of EPOCH_SECONDS. The
rows of an epoch have a tenant and three days of their own, long past, so that all of maintenance falls due
within minutes: files are joined, compressed harder, and at last, when EPOCHS_KEPT newer epochs are whole or
the directory holds more than 60 % of DISK_MAX_GB, the tenant is forgotten by `POST /api/v1/forget`. Settings
differ from the defaults only in [lifecycle], so that grace periods end within the soak. Writers never pause,
except when the server says so (503). A directory that grows past DISK_MAX_GB ends the soak as failed.

Readers run named queries, SQL, /metrics and /api/v1/status all the time. One of their questions has a known
answer: a whole epoch has exactly the rows and tokens that were acknowledged, whatever maintenance does.

Every five seconds a sample is taken: memory, open files, threads, data files (named by the Delta log, which is
read as it grows, and in the directory), log entries, bytes of the log, the write-ahead log, spilled bytes,
rows, latencies, CPU. At the end each claim is a line `pass` or `FAIL`; `note` where the run is too short to
judge. The figures are a Markdown table; with --json all of it, samples included.
"""

import argparse
import collections
import datetime
import json
import multiprocessing
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.parse

from served import (ANSWER_SECONDS_MAX, CORES, Broken, Claims, Connection, Process, Server, generate, machine,
                    markdown, mib, quantile, slope, tree, version)

SAMPLE_SECONDS = 5
# Two intervals of the flush, and what the allocator takes to give pages back.
REST_SECONDS = 40
MEMORY_BYTES_MAX = 1 << 30
# What the buffer holds by default, a segment, a group, and what frames take beyond their rows.
WAL_BYTES_MAX = 256 << 20
# Resident memory may grow by this part of its mean in ten minutes; below so many minutes nothing is judged.
GROWTH_MAX, GROWTH_MINUTES_MIN = 0.02, 10
INTERVAL_S, CLOSED_MINUTES, GRACE_MINUTES, RETENTION_MINUTES = 5, 1, 1, 1
# How long a pass of maintenance may keep files and entries beyond their time: it sweeps when it ends.
PASS_SECONDS_MAX = 180
SETTINGS = f"""[lifecycle]
interval_s = {INTERVAL_S}
closed_after_minutes = {CLOSED_MINUTES}
file_grace_minutes = {GRACE_MINUTES}
log_retention_minutes = {RETENTION_MINUTES}
"""
# What the product does by default, for the bounds.
MERGE_FILES_MIN, FILE_BYTES_TARGET, CHECKPOINT_INTERVAL = 8, 128 << 20, 50
# Files that are not full lie between 4 KiB and half the target: so many factors of four.
SIZE_CLASSES = 7
BATCH_LINES = 2000
LIVE_LINES, LIVE_PAUSE_SECONDS = 100, 0.5
REJECT_EVERY = 50
DAYS = 3
FIRST_TEXT_DAY = datetime.date(2026, 5, 1)
# The first epoch's first day; far from any retention and from the present.
FIRST_EPOCH_DAY = datetime.date(2015, 1, 1)
DISK_SHARE_FULL = 0.6
FREE_BYTES_MIN = 3 << 30
FORGET_SECONDS_MAX = 1800
QUERY_SECONDS_MAX = 120
LIVE_TENANT = "soak-live"
TABLES = ("agent_logs", "rejected_logs")
# Request ids begin with the number of their post, all of one length.
FIRST_NUMBER = 36**4
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Batch:
    """Lines in pieces: what changes with the epoch, what changes with each post, and the rest."""

    # The date, the seconds, their fraction, what follows, the ids, and the rest with the tenant.
    LINE = re.compile(rb'(\{"timestamp":")(\d{4}-\d\d-\d\d)(T[\d:]{8}\.)(\d+)(Z",.*?)("request_id":"req-.*?)("agent_id":.*)',
                      re.DOTALL)

    def __init__(self, lines):
        found = [self.LINE.fullmatch(line) for line in lines]
        if not all(found):
            sys.exit("the generated lines are not as this script knows them")
        pieces = list(zip(*(match.groups() for match in found)))
        self.openings, self.dates, self.seconds, fractions, self.middles, ids, tails = pieces
        self.fractions, self.ids = b"\n".join(fractions), b"\n".join(ids)
        self.tails = [re.sub(rb'"tenant_id":"[^"]*"', b'"tenant_id":"TENANT"', tail) for tail in tails]
        self.live = b"".join(lines[:LIVE_LINES])
        records = [json.loads(line) for line in lines]
        self.sums, self.live_sums = sums(records), sums(records[:LIVE_LINES])
        self.request_ids = {record["request_id"] for record in records}
        self.trace, self.session = records[0]["trace_id"], records[0]["session_id"]

    def of_epoch(self, epoch):
        """What the epoch makes of the openings and the tails."""
        moved = {(FIRST_TEXT_DAY + datetime.timedelta(day)).isoformat().encode():
                 (first_day(epoch) + datetime.timedelta(day)).isoformat().encode() for day in range(DAYS)}
        openings = [opening + moved[date] + seconds
                    for opening, date, seconds in zip(self.openings, self.dates, self.seconds)]
        named = tenant(epoch).encode()
        return openings, [tail.replace(b"TENANT", named) for tail in self.tails]

    def body(self, number, of_epoch):
        """The body as the post of this number sends it."""
        exchanged = exchange(number)
        fractions = self.fractions.translate(exchanged).split(b"\n")
        ids = self.ids.translate(exchanged).replace(b'"req-', f'"{base36(number)}-'.encode()).split(b"\n")
        openings, tails = of_epoch
        pieces = zip(openings, fractions, self.middles, ids, tails)
        return b"".join([piece for line in pieces for piece in line])


class Corpus:
    """The text that is sent."""

    def __init__(self, path, seed, records):
        lines = generate(path, seed, f"{FIRST_TEXT_DAY}T00:00:00Z", DAYS, records // DAYS)
        os.remove(path)
        self.batches = [Batch(lines[start:start + BATCH_LINES]) for start in range(0, len(lines), BATCH_LINES)]
        self.bytes, self.records = sum(map(len, lines)), len(lines)
        if len(set().union(*(batch.request_ids for batch in self.batches))) != self.records:
            sys.exit("the generated request ids repeat")


def exchange(number):
    """The digits in another order, as a table for `bytes.translate`."""
    digits = random.Random(number).sample(b"0123456789", 10)
    return bytes.maketrans(b"0123456789", bytes(digits))


def base36(number):
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text


def sums(records):
    """Rows, prompt tokens and completion tokens."""
    return (len(records), sum(record.get("prompt_tokens") or 0 for record in records),
            sum(record.get("completion_tokens") or 0 for record in records))


def tenant(epoch):
    return LIVE_TENANT if epoch is None else f"soak-{epoch:05}"


def first_day(epoch):
    return FIRST_EPOCH_DAY + datetime.timedelta(epoch * DAYS)


class Writer:
    """Posts until it is told to stop; runs in a process of its own."""

    def __init__(self, name, shared, seed):
        self.name, self.shared, self.key = name, shared, f"soak-{seed}-{name}"
        self.connection = Connection(shared.address)
        self.refused = self.broken = 0

    def post(self, number, body):
        """Posts a batch until it is taken; None if the soak ends before."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"{self.key}-{number}"}
        give_up = None
        while give_up is None or time.monotonic() < give_up:
            if self.shared.stop.is_set() and give_up is None:
                give_up = time.monotonic() + ANSWER_SECONDS_MAX
            try:
                answer = self.connection.ask("POST", "/api/v1/logs", body, headers)
            except Broken:
                # It may be stored or not; the key sees to it that it is stored once.
                self.broken += 1
                time.sleep(0.2)
                continue
            if answer.status == 200:
                return answer
            if answer.status != 503 or answer.retry_after() is None:
                self.say("wrong_answer", f"{answer.status} {answer.error()} Retry-After {answer.headers.get('Retry-After')}")
                time.sleep(1)
                continue
            self.refused += 1
            time.sleep(answer.retry_after())
        self.say("wrong_answer", f"batch {self.key}-{number} was never answered")
        return None

    def say(self, kind, *what):
        self.shared.said.put((kind, self.name, *what))

    def acked(self, answer, epoch, lines, length):
        said = answer.json()
        self.say("ack", said["seq"], epoch, said["accepted"], len(said["rejected"]), lines, length,
                 answer.seconds, self.refused, self.broken, bool(said.get("duplicate")))
        self.refused = self.broken = 0

    def run_bulk(self, corpus, worker, writers):
        epoch, number = None, worker
        while not self.shared.stop.is_set():
            if self.shared.epoch.value != epoch:
                epoch = self.shared.epoch.value
                of_epoch = [batch.of_epoch(epoch) for batch in corpus.batches]
                self.say("entered_epoch", epoch)
            position = number % len(corpus.batches)
            batch = corpus.batches[position]
            body = batch.body(FIRST_NUMBER + number, of_epoch[position])
            if number % REJECT_EVERY == 0:
                body += f"no record of {tenant(epoch)}\n".encode()
            answer = self.post(number, body)
            if answer:
                self.acked(answer, epoch, batch.sums, len(body))
            number += writers
        self.say("writer_ended")

    def run_live(self, corpus):
        number = 0
        while not self.shared.stop.is_set():
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
            batch = corpus.batches[number % len(corpus.batches)]
            body = re.sub(rb'"timestamp":"[^"]*Z"', f'"timestamp":"{now}Z"'.encode(), batch.live)
            body = body.replace(b'"request_id":"req-', f'"request_id":"live{number}-'.encode())
            body = re.sub(rb'"tenant_id":"[^"]*"', f'"tenant_id":"{LIVE_TENANT}"'.encode(), body)
            answer = self.post(number, body)
            if answer:
                self.acked(answer, None, batch.live_sums, len(body))
            number += 1
            self.shared.stop.wait(LIVE_PAUSE_SECONDS)
        self.say("writer_ended")


class Shared:
    """What writers and the ledger share."""

    def __init__(self, address):
        context = multiprocessing.get_context("fork")
        self.address, self.context = address, context
        self.epoch = context.Value("i", 0)
        self.stop = context.Event()
        self.said = context.Queue()


class Ledger:
    """What was acknowledged. A thread of its own writes it, others read it."""

    def __init__(self, shared, writers):
        self.shared, self.writers = shared, writers
        self.lock = threading.Lock()
        self.batches = {}
        self.totals = collections.defaultdict(lambda: [0, 0, 0])
        self.rejected = collections.Counter()
        self.rows = self.bytes = self.refused = self.broken = self.duplicates = 0
        self.entered = {}
        self.ended = 0
        self.wrong = []
        self.seconds = []
        self.closed = {}
        self.gone = set()

    def follow(self, processes):
        while self.ended < self.writers + 1:
            try:
                said = self.shared.said.get(timeout=1)
            except queue.Empty:
                if not any(process.is_alive() for process in processes):
                    return
                continue
            with self.lock:
                # What a writer says is the name of a method here.
                getattr(self, said[0])(*said[1:])

    def ack(self, _, seq, epoch, accepted, rejected, lines, length, seconds, refused, broken, duplicate):
        if seq in self.batches:
            self.wrong.append(f"two batches were given seq {seq}")
        if accepted != lines[0]:
            self.wrong.append(f"seq {seq}: {accepted} of {lines[0]} records accepted")
        self.batches[seq] = (epoch, lines)
        self.totals[epoch] = [total + part for total, part in zip(self.totals[epoch], lines)]
        self.rejected[epoch] += rejected
        self.rows += accepted
        self.bytes += length
        self.refused += refused
        self.broken += broken
        self.duplicates += duplicate
        self.seconds.append(seconds)

    def entered_epoch(self, name, epoch):
        self.entered[name] = epoch
        if len(self.entered) == self.writers:
            for whole in range(min(self.entered.values())):
                self.closed.setdefault(whole, tuple(self.totals[whole]))

    def wrong_answer(self, name, what):
        if len(self.wrong) < 1000:
            self.wrong.append(f"{name}: {what}")

    def writer_ended(self, _):
        self.ended += 1

    def whole(self):
        """Epochs that no writer adds to and that nobody has begun to forget, with what they hold."""
        with self.lock:
            return {epoch: held for epoch, held in self.closed.items() if epoch not in self.gone}


class DeltaLog:
    """Follows a table's log from its beginning: which files are named now, and when it changed."""

    def __init__(self, table):
        self.directory = pathlib.Path(table, "_delta_log")
        self.version, self.lost = -1, False
        self.files, self.added, self.removed, self.versions = {}, [], [], []

    def follow(self, now):
        try:
            names = sorted(entry.name for entry in os.scandir(self.directory))
        except OSError:
            return
        commits = [name for name in names if re.fullmatch(r"\d{20}\.json", name)]
        for name in commits:
            number = int(name[:20])
            if number <= self.version:
                continue
            if number != self.version + 1:
                self.lost = True
            try:
                lines = (self.directory / name).read_text().splitlines()
            except OSError:
                self.lost = True
                return
            for line in lines:
                action = json.loads(line)
                if "add" in action:
                    self.files[action["add"]["path"]] = action["add"]["size"]
                    self.added.append((now, action["add"]["path"]))
                elif "remove" in action:
                    self.files.pop(action["remove"]["path"], None)
                    self.removed.append(now)
            self.version = number
        self.versions.append((now, self.version))

    def added_since(self, then, day=None):
        return sum(when >= then and (day is None or day in path) for when, path in self.added)

    def removed_since(self, then):
        return sum(when >= then for when in self.removed)

    def version_at(self, then):
        return max((version for when, version in self.versions if when <= then), default=-1)


class Reader:
    """Asks all the time."""

    def __init__(self, number, server, ledger, corpus, seed):
        self.connection = Connection(server.address, QUERY_SECONDS_MAX)
        self.ledger, self.corpus = ledger, corpus
        self.chance = random.Random(seed * 1000 + number)
        self.stop = threading.Event()
        self.done, self.failures, self.wrong = [], [], []

    def run(self):
        while not self.stop.is_set():
            name, target, check, epoch = self.question()
            started = time.monotonic()
            try:
                answer = self.connection.ask("GET", target)
                failure = None if answer.status == 200 else f"{answer.status} {answer.error()}"
            except Broken as error:
                answer, failure = None, str(error)
            if self.stop.is_set() and failure:
                return
            ended = time.monotonic()
            self.done.append((ended, name, ended - started))
            if failure:
                self.failures.append(f"{name}: {failure}")
                time.sleep(0.5)
            elif check and epoch in self.ledger.whole():
                wrong = check(answer)
                if wrong:
                    self.wrong.append(f"{name}: {wrong}")

    def some_id(self, kind):
        """A trace or session of some batch, perhaps not of the epoch that is asked for."""
        number = self.chance.randrange(max(1, len(self.ledger.batches)))
        batch = self.corpus.batches[number % len(self.corpus.batches)]
        return getattr(batch, kind).encode().translate(exchange(FIRST_NUMBER + number)).decode()

    def question(self):
        whole = self.ledger.whole()
        epoch = self.chance.choice(sorted(whole)) if whole else 0
        start, end = first_day(epoch), first_day(epoch) + datetime.timedelta(DAYS)
        day = start + datetime.timedelta(self.chance.randrange(DAYS))

        def sql(name, statement, check=None):
            return name, "/api/v1/sql?" + urllib.parse.urlencode({"q": statement}), check, epoch

        def named(name, first=start, last=end, **parameters):
            text = urllib.parse.urlencode({"from": f"{first}T00:00:00Z", "to": f"{last}T00:00:00Z", **parameters})
            return name, f"/api/v1/queries/{name}?{text}", None, epoch

        def is_whole(answer):
            row = answer.json()[0]
            found = (row["n"], row["p"] or 0, row["c"] or 0)
            return None if found == whole[epoch] else f"epoch {epoch} holds {found}, acknowledged are {whole[epoch]}"

        range_of = f"timestamp >= '{start}' and timestamp < '{end}'"
        whole_epoch = ("a whole epoch", "select count(*) as n, sum(prompt_tokens) as p, sum(completion_tokens) as c "
                       f"from agent_logs where tenant_id = '{tenant(epoch)}' and {range_of}")
        questions = [
            lambda: sql(*whole_epoch, is_whole if whole else None),
            lambda: sql(*whole_epoch, is_whole if whole else None),
            lambda: sql("all rows", "select count(*) as n from agent_logs"),
            lambda: sql("the last ten minutes", "select agent_id, count(*) as n, approx_percentile_cont(latency_ms, 0.99) "
                        "from agent_logs where timestamp > now() - interval '10 minutes' group by 1"),
            lambda: sql("newest rows", f"select * from agent_logs where {range_of} order by timestamp desc limit 50"),
            lambda: named("cost_by_agent_daily"),
            lambda: named("cost_by_model_hourly", day, day + datetime.timedelta(1)),
            lambda: named("latency_by_agent_hourly", day, day + datetime.timedelta(1)),
            lambda: named("error_rate_by_agent_hourly"),
            lambda: named("top_sessions_by_cost", day, day + datetime.timedelta(1)),
            lambda: named("errors_by_type"),
            lambda: named("guardrail_decisions"),
            lambda: named("daily_active_users", day, day + datetime.timedelta(1)),
            lambda: named("trace_calls", trace_id=self.some_id("trace")),
            lambda: named("session_calls", session_id=self.some_id("session")),
            lambda: ("rejected_lines", "/api/v1/queries/rejected_lines", None, epoch),
            lambda: ("/metrics", "/metrics", None, epoch),
            lambda: ("/api/v1/status", "/api/v1/status", None, epoch),
        ]
        return self.chance.choice(questions)()


class Keeper:
    """Begins epochs and forgets old ones."""

    def __init__(self, options, server, shared, ledger):
        self.options, self.server, self.shared, self.ledger = options, server, shared, ledger
        self.disk_bytes = 0
        self.can_forget = True
        self.forgotten, self.failures, self.seconds = {}, [], []

    def run(self, stop):
        begun = time.monotonic()
        while not stop.wait(1):
            if time.monotonic() - begun >= self.options.epoch_seconds:
                begun = time.monotonic()
                with self.shared.epoch.get_lock():
                    self.shared.epoch.value += 1
            if self.can_forget:
                oldest = self.due()
                if oldest is not None:
                    self.forget(oldest)

    def due(self):
        whole = sorted(self.ledger.whole())
        full = self.disk_bytes > DISK_SHARE_FULL * self.options.disk_max_gb * 1e9
        return whole[0] if len(whole) > (0 if full else self.options.epochs_kept) else None

    def forget(self, epoch):
        with self.ledger.lock:
            self.ledger.gone.add(epoch)
        body = json.dumps({"tenant_id": tenant(epoch)})
        try:
            answer = self.server.ask("POST", "/api/v1/forget", body, {"Content-Type": "application/json"},
                                     timeout=FORGET_SECONDS_MAX)
        except Broken as error:
            self.failures.append(f"epoch {epoch}: {error}")
            return
        if answer.status == 404:
            self.can_forget = False
            with self.ledger.lock:
                self.ledger.gone.discard(epoch)
            return
        if answer.status != 200:
            self.failures.append(f"epoch {epoch}: {answer.status} {answer.error()}")
            return
        self.seconds.append(answer.seconds)
        said = answer.json()["forgotten"]
        self.forgotten[epoch] = said
        wanted = (self.ledger.closed[epoch][0], self.ledger.rejected[epoch])
        if (said["records"], said["rejected_lines"]) != wanted:
            self.failures.append(f"epoch {epoch}: {said} forgotten, (records, rejected lines) were {wanted}")


class Soak:
    """The parts together."""

    def __init__(self, options, work, data):
        self.options, self.work, self.data = options, work, data
        self.claims = Claims()
        self.corpus = Corpus(work / "text.ndjson", options.seed, options.records)
        self.server = Server(data, work, SETTINGS).wait_ready()
        self.shared = Shared(self.server.address)
        self.ledger = Ledger(self.shared, options.writers)
        self.keeper = Keeper(options, self.server, self.shared, self.ledger)
        self.logs = {name: DeltaLog(data / "tables" / name) for name in TABLES}
        self.readers = [Reader(number, self.server, self.ledger, self.corpus, options.seed)
                        for number in range(options.readers)]
        self.samples = []
        self.ended_early = None

    def run(self):
        processes = self.start_writers()
        follower = threading.Thread(target=self.ledger.follow, args=(processes,), daemon=True)
        stop_keeper = threading.Event()
        keeper = threading.Thread(target=self.keeper.run, args=(stop_keeper,), daemon=True)
        asking = [threading.Thread(target=reader.run, daemon=True) for reader in self.readers]
        self.started = time.monotonic()
        for thread in (follower, keeper, *asking):
            thread.start()
        try:
            self.sample_until(self.started + self.options.minutes * 60, processes)
        finally:
            self.seconds = time.monotonic() - self.started
            self.shared.stop.set()
            follower.join(2 * ANSWER_SECONDS_MAX)
            stop_keeper.set()
            keeper.join(FORGET_SECONDS_MAX)
            for reader in self.readers:
                reader.stop.set()
            for thread in asking:
                thread.join(QUERY_SECONDS_MAX)
            for process in processes:
                process.join(5)
                if process.is_alive():
                    process.kill()

    def start_writers(self):
        processes = []
        for worker in range(self.options.writers):
            writer = Writer(f"writer-{worker}", self.shared, self.options.seed)
            arguments = (self.corpus, worker, self.options.writers)
            processes.append(self.shared.context.Process(target=writer.run_bulk, args=arguments, daemon=True))
        live = Writer("live", self.shared, self.options.seed)
        processes.append(self.shared.context.Process(target=live.run_live, args=(self.corpus,), daemon=True))
        for process in processes:
            process.start()
        return processes

    def sample_until(self, end, processes):
        before = {"t": 0.0, "rows": 0, "server_cpu": self.server.process.cpu_seconds(), "writers_cpu": 0.0,
                  "readers_cpu": time.process_time()}
        due, told = self.started, self.started
        while time.monotonic() < end and self.ended_early is None:
            due += SAMPLE_SECONDS
            time.sleep(max(0.0, min(due, end) - time.monotonic()))
            if not self.server.runs():
                self.ended_early = "the server ended"
                return
            before = self.sample(before, processes)
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                self.tell(before)

    def sample(self, before, processes):
        now = time.monotonic()
        status = self.server.process.status()
        for log in self.logs.values():
            log.follow(now)
        disk = tree(self.data)[1]
        self.keeper.disk_bytes = disk
        recent = [seconds for reader in self.readers for ended, _, seconds in reader.done[-2000:]
                  if ended > now - SAMPLE_SECONDS]
        acknowledged = self.ledger.seconds
        self.ledger.seconds = []
        sample = {
            "t": now - self.started,
            "rows": self.ledger.rows,
            "bytes": self.ledger.bytes,
            "refused": self.ledger.refused,
            "rss": status.get("VmRSS", 0),
            "hwm": status.get("VmHWM", 0),
            "anonymous": status.get("RssAnon", 0),
            "threads": status.get("Threads", 0),
            "fds": self.server.process.open_files(),
            "disk": disk,
            "free": shutil.disk_usage(self.data).free,
            "wal": tree(self.data / "wal")[1],
            "spill": tree(self.data / "spill")[1],
            "queries": sum(len(reader.done) for reader in self.readers),
            "query_failures": sum(len(reader.failures) for reader in self.readers),
            "query_p50": quantile(recent, 0.5),
            "query_p99": quantile(recent, 0.99),
            "ack_p50": quantile(acknowledged, 0.5),
            "ack_p99": quantile(acknowledged, 0.99),
            "server_cpu": self.server.process.cpu_seconds(),
            "writers_cpu": sum(Process(process.pid).cpu_seconds() for process in processes),
            "readers_cpu": time.process_time(),
            "load": os.getloadavg()[0],
            "tables": {name: self.files_of(name, now) for name in TABLES},
        }
        sample["rate"] = (sample["rows"] - before["rows"]) / max(1e-9, sample["t"] - before["t"])
        self.samples.append(sample)
        if disk > self.options.disk_max_gb * 1e9:
            self.ended_early = f"the directory grew to {mib(disk)}"
        elif sample["free"] < FREE_BYTES_MIN:
            self.ended_early = f"only {mib(sample['free'])} are left on the disk"
        return sample

    def files_of(self, name, now):
        """Counts of a table, each with the most that the settings let it have."""
        log, directory = self.logs[name], self.data / "tables" / name
        today = f"date={datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
        total = data_bytes = 0
        for day in directory.glob("date=*"):
            count, size = tree(day)
            total, data_bytes = total + count, data_bytes + size
        entries, log_bytes = tree(directory / "_delta_log")
        of_today = sum(today in path for path in log.files)
        days = len({path.partition("/")[0] for path in log.files if today not in path})
        named_bytes = sum(log.files.values())
        # Of a day whose hours are closed, fewer than merge_files_min of each size stay; beside them there are
        # full files, which hold half the target at least, and what came since the last pass began. Of today, an
        # hour's files stay until it is closed.
        rest = (MERGE_FILES_MIN - 1) * SIZE_CLASSES
        recently = log.added_since(now - PASS_SECONDS_MAX)
        this_hour = log.added_since(now - 3600 - CLOSED_MINUTES * 60 - PASS_SECONDS_MAX, today)
        named_max = (days + 1) * rest + 2 * named_bytes // FILE_BYTES_TARGET + recently + this_hour
        # What was taken out stays for the grace period, and until the pass that sweeps it.
        removed = log.removed_since(now - GRACE_MINUTES * 60 - PASS_SECONDS_MAX)
        old = log.version_at(now - RETENTION_MINUTES * 60 - PASS_SECONDS_MAX)
        return {
            "named": len(log.files), "named_max": named_max, "named_bytes": named_bytes, "named_today": of_today,
            "total": total, "total_max": named_max + removed + 16, "bytes": data_bytes,
            # Entries stay until a checkpoint replaces them and they are old enough; checkpoints are files too.
            "log_entries": entries, "log_entries_max": log.version - old + 2 * CHECKPOINT_INTERVAL + 16,
            "log_bytes": log_bytes, "version": log.version,
        }

    def tell(self, sample):
        records = sample["tables"]["agent_logs"]
        print(f"      {sample['t'] / 60:5.1f} min  {sample['rows']:,} rows  {sample['rate']:,.0f}/s  "
              f"resident {mib(sample['rss'])}  files {records['named']} of {records['total']}  "
              f"log {records['log_entries']}  disk {mib(sample['disk'])}  "
              f"p99 {sample['query_p99'] or 0:.2f} s", flush=True)

    # What is claimed.

    def judge(self):
        claims, ledger = self.claims, self.ledger
        claims.check("the soak went to its end", self.ended_early is None, self.ended_early or f"{self.seconds:.0f} s")
        claims.check("every answer to a batch is 200, or 503 with Retry-After", not ledger.wrong,
                     first(ledger.wrong) or f"{len(ledger.batches):,} batches, {ledger.refused:,} times refused, "
                     f"{ledger.broken} connections broken, {ledger.duplicates} retries of stored batches")
        failures = [text for reader in self.readers for text in reader.failures]
        asked = sum(len(reader.done) for reader in self.readers)
        claims.check("no query fails", asked and not failures, first(failures) or f"{asked:,} queries")
        wrong = [text for reader in self.readers for text in reader.wrong]
        checked = sum(name == "a whole epoch" for reader in self.readers for _, name, _ in reader.done)
        claims.check("whole epochs are whole in every look", not wrong, first(wrong) or f"{checked:,} looks")
        self.judge_forgetting()
        self.judge_memory()
        self.judge_files()
        disk = max((sample["disk"] for sample in self.samples), default=0)
        claims.check("the directory stays below its bound", disk <= self.options.disk_max_gb * 1e9,
                     f"at most {mib(disk)} of {self.options.disk_max_gb} GB")
        wal = max((sample["wal"] for sample in self.samples), default=0)
        claims.check("the write-ahead log stays below its bound", wal <= WAL_BYTES_MAX, f"at most {mib(wal)}")

    def judge_forgetting(self):
        keeper = self.keeper
        if not keeper.can_forget:
            self.claims.note("epochs are forgotten", "this binary cannot forget: all history is kept")
        elif not keeper.forgotten and not keeper.failures:
            self.claims.note("epochs are forgotten", "none was due")
        else:
            self.claims.check("what is forgotten is what was acknowledged", not keeper.failures,
                              first(keeper.failures) or f"{len(keeper.forgotten)} epochs, "
                              f"{sum(said['records'] for said in keeper.forgotten.values()):,} rows")

    def judge_memory(self):
        claims = self.claims
        peak = max((sample["hwm"] for sample in self.samples), default=0)
        claims.check("resident memory stays below 1 GiB", 0 < peak < MEMORY_BYTES_MAX, f"at most {mib(peak)}")
        self.growth = None
        half = self.samples[len(self.samples) // 2:]
        if len(half) < 10:
            claims.note("resident memory is flat", "too few samples")
            return
        mean = sum(sample["rss"] for sample in half) / len(half)
        per_second, error = slope([sample["t"] for sample in half], [sample["rss"] for sample in half])
        self.growth, self.growth_error = per_second * 600 / mean, error * 600 / mean
        said = (f"{self.growth:+.1%} ± {self.growth_error:.1%} of {mib(mean)} in 10 minutes, "
                f"over the last {(half[-1]['t'] - half[0]['t']) / 60:.0f} minutes")
        if half[-1]["t"] - half[0]["t"] < GROWTH_MINUTES_MIN * 60:
            claims.note("resident memory is flat", said)
        else:
            # Two standard errors: a slope that chance alone explains is none.
            claims.check("resident memory is flat", self.growth - 2 * self.growth_error <= GROWTH_MAX, said)

    def judge_files(self):
        half = self.samples[len(self.samples) // 2:]
        for name in TABLES:
            if self.logs[name].lost:
                self.claims.check(f"the Delta log of {name} could be followed", False, "commits went unread")
                continue
            for what, count in (("files that are named", "named"), ("files in the directory", "total"),
                                ("Delta log entries", "log_entries")):
                tables = [sample["tables"][name] for sample in half]
                over = [table for table in tables if table[count] > table[count + "_max"]]
                worst = max(over or tables, key=lambda table: table[count], default=None)
                if worst is None:
                    continue
                self.claims.check(f"{name}: {what} are bounded", not over,
                                  f"at most {worst[count]:,}, where the settings allow {worst[count + '_max']:,}")

    def judge_store(self, when):
        """Every acknowledged row is there exactly once: rows and tokens of each batch, by its seq."""
        claims, ledger, server = self.claims, self.ledger, self.server
        try:
            found = {row["ingest_seq"]: (row["n"], row["p"] or 0, row["c"] or 0) for row in server.rows(
                "select ingest_seq, count(*) as n, sum(prompt_tokens) as p, sum(completion_tokens) as c "
                "from agent_logs group by ingest_seq")}
            books, rows = server.status()["books"], server.rows("select count(*) as n from agent_logs")[0]["n"]
            rejected = server.rows("select count(*) as n from rejected_logs")[0]["n"]
            distinct = self.distinct_ids()
        except Broken as error:
            claims.check(f"{when}: the store can be asked", False, str(error))
            return
        wanted = {seq: tuple(lines) for seq, (epoch, lines) in ledger.batches.items() if epoch not in ledger.gone}
        missing = wanted.keys() - found.keys()
        strange = found.keys() - wanted.keys()
        different = [seq for seq in wanted.keys() & found.keys() if wanted[seq] != found[seq]]
        claims.check(f"{when}: each acknowledged batch is there once, and nothing else",
                     not (missing or strange or different),
                     f"{len(wanted):,} batches of {sum(lines[0] for lines in wanted.values()):,} rows; "
                     f"{len(missing)} missing, {len(strange)} unknown, {len(different)} different")
        claims.check(f"{when}: request ids do not repeat", distinct[0] == distinct[1],
                     f"{distinct[1]:,} different in {distinct[0]:,} rows of a sample")
        kept = sum(count for epoch, count in ledger.rejected.items() if epoch not in ledger.gone)
        claims.check(f"{when}: rejected lines", rejected == kept, f"{rejected:,}, of {kept:,}")
        claims.check(f"{when}: accepted = committed + buffered",
                     books["accepted"] == books["committed"] + books["buffered"] == ledger.rows,
                     f"{books['accepted']:,} = {books['committed']:,} + {books['buffered']:,}; "
                     f"acknowledged {ledger.rows:,}")
        held = books["committed"] + books["buffered"] - books.get("deleted", 0)
        claims.check(f"{when}: rows = committed + buffered - deleted", rows == held,
                     f"{rows:,}; {books.get('deleted', 0):,} deleted")

    def distinct_ids(self):
        """Rows and different request ids of a part of the batches that is small enough to compare."""
        kept = sum(lines[0] for epoch, lines in self.ledger.batches.values() if epoch not in self.ledger.gone)
        every = max(1, kept // 500_000)
        row = self.server.rows("select count(*) as n, count(distinct request_id) as d from agent_logs "
                               f"where ingest_seq % {every} = 0")[0]
        return row["n"], row["d"]

    # What is printed.

    def figures(self):
        samples, ledger = self.samples, self.ledger
        first_half, half = samples[:len(samples) // 2], samples[len(samples) // 2:]
        latencies = [seconds for reader in self.readers for _, _, seconds in reader.done]

        def most(key, of=samples):
            return max((sample[key] or 0 for sample in of), default=0)

        def most_of(table, key):
            return max((sample["tables"][table][key] for sample in samples), default=0)

        server_cpu = samples[-1]["server_cpu"] / self.seconds if samples else 0
        writers_cpu = samples[-1]["writers_cpu"] / self.seconds if samples else 0
        readers_cpu = samples[-1]["readers_cpu"] / self.seconds if samples else 0
        rss = [sample["rss"] for sample in half] or [0]
        kept_bytes = sum(samples[-1]["tables"][name]["named_bytes"] for name in TABLES) if samples else 0
        kept_rows = sum(lines[0] for epoch, lines in ledger.batches.values() if epoch not in ledger.gone)
        # A writer that computes all the time is what limits it.
        bottleneck = writers_cpu > 0.8 * self.options.writers and not ledger.refused
        done = self.done
        return [
            ("machine", machine()),
            ("binary", version()),
            ("time", f"{self.seconds / 60:.1f} minutes, seed {self.options.seed}"),
            ("load of the machine, all processes", f"{sum(s['load'] for s in samples) / max(1, len(samples)):.1f}"),
            ("rows acknowledged", f"{ledger.rows:,} in {len(ledger.batches):,} batches of {ledger.bytes / 1e9:.1f} GB"),
            ("rows a second", f"{ledger.rows / self.seconds:,.0f}; first half "
             f"{rate(first_half):,.0f}, second half {rate(half):,.0f}"),
            ("batches refused (503)", f"{ledger.refused:,}"),
            ("acknowledgement p50 / p99", f"{median(samples, 'ack_p50'):.3f} s / {most('ack_p99'):.3f} s (worst 5 s)"),
            ("queries", f"{len(latencies):,}, {sum(len(reader.failures) for reader in self.readers)} failed"),
            ("query p50 / p99 / longest", " / ".join(f"{value or 0:.3f} s" for value in
             (quantile(latencies, 0.5), quantile(latencies, 0.99), max(latencies, default=0)))),
            ("resident memory, second half", f"mean {mib(sum(rss) / len(rss))}, {mib(min(rss))} to {mib(max(rss))}"),
            ("resident memory, peak", mib(most("hwm"))),
            ("resident memory at rest", f"{mib(self.at_rest)}, {REST_SECONDS} s after the last request"),
            ("resident memory, growth in 10 minutes",
             "not known" if self.growth is None else f"{self.growth:+.1%} ± {self.growth_error:.1%}"),
            ("open files / threads, most", f"{most('fds')} / {most('threads')}"),
            ("data files named, most", f"{most_of('agent_logs', 'named')} and {most_of('rejected_logs', 'named')}"),
            ("data files in the directory, most",
             f"{most_of('agent_logs', 'total')} and {most_of('rejected_logs', 'total')}"),
            ("Delta log entries, most",
             f"{most_of('agent_logs', 'log_entries')} and {most_of('rejected_logs', 'log_entries')}, of "
             f"{most_of('agent_logs', 'version')} and {most_of('rejected_logs', 'version')} commits"),
            ("Delta log bytes, most", mib(most_of("agent_logs", "log_bytes") + most_of("rejected_logs", "log_bytes"))),
            ("write-ahead log / spilled, most", f"{mib(most('wal'))} / {mib(most('spill'))}"),
            ("directory, most", mib(most("disk"))),
            ("bytes a row, committed at the end", f"{kept_bytes / kept_rows:.0f}" if kept_rows else "none"),
            ("maintenance", f"{done.get('actions', 0)} commits, {mib(done.get('rewritten_bytes', 0))} rewritten, "
             f"{done.get('swept_files', 0)} files and {done.get('trimmed_entries', 0)} log entries removed"),
            ("epochs forgotten", f"{len(self.keeper.forgotten)}, in at most {max(self.keeper.seconds, default=0):.1f} s"),
            ("CPU: server / writers / readers, cores",
             f"{server_cpu:.2f} / {writers_cpu:.2f} / {readers_cpu:.2f} of {CORES}"),
            ("the limit", "the writers: they compute all the time" if bottleneck else
             "not the writers" if ledger.refused else f"the machine: writers take {writers_cpu / CORES:.0%} of it"),
        ]

    def course(self):
        """Twelve moments of the soak."""
        count = min(12, len(self.samples))
        chosen = [self.samples[(index + 1) * len(self.samples) // count - 1] for index in range(count)]
        rows, before = [], {"t": 0.0, "rows": 0}
        for sample in chosen:
            table = sample["tables"]["agent_logs"]
            rate_now = (sample["rows"] - before["rows"]) / max(1e-9, sample["t"] - before["t"])
            rows.append((f"{sample['t'] / 60:.1f}", f"{sample['rows']:,}", f"{rate_now:,.0f}", mib(sample["rss"]),
                         table["named"], table["total"], table["log_entries"], mib(sample["wal"]),
                         mib(sample["disk"]), f"{sample['query_p99'] or 0:.2f} s"))
            before = sample
        return markdown(rows, ("minute", "rows", "rows a second", "resident", "files named", "in the directory",
                               "log entries", "write-ahead log", "directory", "query p99"))

    def by_query(self):
        seconds = collections.defaultdict(list)
        for reader in self.readers:
            for _, name, took in reader.done:
                seconds[name].append(took)
        return markdown([(name, len(took), f"{quantile(took, 0.5):.3f} s", f"{quantile(took, 0.99):.3f} s")
                         for name, took in sorted(seconds.items())], ("query", "times", "p50", "p99"))

    def rest(self):
        """What the server holds once everything is committed and nobody asks; and what maintenance did."""
        time.sleep(REST_SECONDS)
        self.at_rest = self.server.process.resident()
        try:
            self.done = self.server.ask("GET", "/api/v1/maintenance").json()["done"]
        except (Broken, ValueError, KeyError):
            self.done = {}


def rate(samples):
    if len(samples) < 2:
        return 0.0
    return (samples[-1]["rows"] - samples[0]["rows"]) / (samples[-1]["t"] - samples[0]["t"])


def median(samples, key):
    return quantile([sample[key] for sample in samples if sample[key] is not None], 0.5) or 0.0


def first(texts):
    return f"{len(texts)} times, the first: {texts[0]}" if texts else None


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=pathlib.Path, help="a directory that is not there yet, and stays")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--disk-max-gb", type=float, default=20)
    parser.add_argument("--epoch-seconds", type=float, default=90)
    parser.add_argument("--epochs-kept", type=int, default=4)
    parser.add_argument("--records", type=int, default=40_000, help="records of the text")
    parser.add_argument("--json", type=pathlib.Path, help="where claims, figures and samples go")
    options = parser.parse_args()
    if options.data and options.data.exists() and any(options.data.iterdir()):
        parser.error(f"{options.data} is not empty: a soak begins with nothing")
    return options


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="driftline-soak-"))
    data = options.data or work / "data"
    soak = None
    # The server and its directory go, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        soak = Soak(options, work, data)
        print(f"{soak.corpus.records:,} records of {soak.corpus.bytes / 1e6:.0f} MB, {options.writers} writers and "
              f"{options.readers} readers for {options.minutes:g} minutes", flush=True)
        soak.run()
        soak.rest()
        soak.judge()
        if soak.server.runs():
            soak.judge_store("at the end")
            complaints = soak.server.complaints()
            code = soak.server.stop()
            soak.claims.check("the server stops well", code == 0, f"exit code {code}")
            soak.claims.check("the server's log has no error", not complaints, first(complaints) or "none")
            soak.server = Server(data, work, SETTINGS).wait_ready()
            soak.judge_store("after a restart")
            soak.server.stop()
        else:
            print(soak.server.last_lines(), file=sys.stderr)
        figures = soak.figures()
        print(f"\n{markdown(figures)}\n\n{soak.course()}\n\n{soak.by_query()}\n")
        code = soak.claims.finish()
        if options.json:
            options.json.write_text(json.dumps(
                {"claims": soak.claims.made, "figures": dict(figures), "samples": soak.samples}, indent=1))
        return code
    finally:
        if soak is not None:
            soak.server.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
