#!/usr/bin/env python3
"""Clients that are slow, idle or too many, against default settings: are others served meanwhile, does memory stay
bounded, and is everybody who is refused told when to come back?

usage: scripts/check-clients.py [--seconds 45] [--idle 1000,5000] [--records 100000] [--phases LIST]
                                [--latency 5] [--json FILE]

RECORDS records are loaded first. Then come these phases. In each, bystanders go on: two ingest small batches, one
asks light statements, one asks /metrics on new connections, one asks /healthz on new connections. They have to be
answered 200, within LATENCY seconds for 99 of 100 and with at most one of 100 refused.

  heads     200 that send a request's head a byte at a time, 200 that send nothing, 100 that stop half way
  bodies    150 senders of a few bytes a second and 150 of 20 KiB/s to ingest, 100 to statements and Grafana
  readers   40 that read a large result at 1 KiB/s, 40 that do not read it, 200 that read /metrics as slowly or not
  http2     one that opens more streams than it may, ten with a window of 0, ten that reset each stream at once, ten
            whose headers never end, ten that flood with pings; needs the package h2 from PyPI, else it is left out
  tls       400 handshakes that never end, on a server with a certificate of its own
  idle      for each number of --idle: as many connections, half of them silent, half kept after a request
  files     a server that may open 400 files, and 1,000 connections
  postgres  a server with a port for clients of Postgres: 300 connections to it that say nothing, 100 that say half of
            what they begin with, and 40 that have a seat and ask nothing, while another one connects and asks
  storm     300 askers of heavy statements at the same time: without keys; then with one key, while another key's
            bystanders go on; then with six keys; then 50 that send keys which are none

A watcher looks at resident memory every 20 ms and kills the server beyond 3 GiB. At the end each acknowledged batch
has to be there once, before and after a restart.
"""

import argparse
import collections
import ctypes
import itertools
import json
import multiprocessing
import os
import pathlib
import queue
import re
import resource
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from served import (MIB, Broken, Claims, Connection, Server, binary, generate, machine, markdown, mib, quantile,
                    run_threads, version, watch)

MEMORY_BYTES_MAX = 1 << 30
KILL_BYTES = 3 << 30
PHASES = ("heads", "bodies", "readers", "http2", "tls", "idle", "files", "postgres", "storm")
# The documented defaults, and what the machine may add to them.
HEAD_SECONDS_MAX, IDLE_SECONDS_MAX, READ_SECONDS_MAX, BODY_SECONDS_MAX = 30, 120, 30, 10
LATE_SECONDS = 10
STREAMS_MAX = 64
CONNECTIONS_MAX = 2048
HANDSHAKE_SECONDS_MAX = 10
STATEMENTS_MAX = 8
UNREAD_SCRAPES = 100
TICK_SECONDS = 0.25
CONTEXT = multiprocessing.get_context("fork")
NDJSON = {"Content-Type": "application/x-ndjson"}
TLS = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "tls"


def target(statement, form="json"):
    return "/api/v1/sql?" + urllib.parse.urlencode({"q": statement, "format": form})


LIGHT = target("select count(*) as n from agent_logs")
LARGE = target("select * from agent_logs", "jsonl")
HEAVY = target("select count(*) as n from agent_logs a join agent_logs b on a.agent_id = b.agent_id "
               "where a.prompt_tokens < b.completion_tokens")


# Bystanders.


class Seen:
    """What became of a bystander's request."""

    def __init__(self, kind, status, seconds, error=None, batch=None):
        self.kind, self.status, self.seconds, self.error, self.batch = kind, status, seconds, error, batch


def stand_by(address, lines, stop, said, mark, headers=None, tls=None):
    """Ordinary clients: a process of a thread each."""
    headers = headers or {}
    body = b"".join(lines[:100])

    def ask(kind, connection, method, path, body=None, more=None):
        started = time.monotonic()
        try:
            answer = connection.ask(method, path, body, {**headers, **(more or {})})
        except Broken as error:
            said.put(Seen(kind, None, time.monotonic() - started, str(error)))
            return
        batch = answer.json()["seq"] if kind == "ingest" and answer.status == 200 else None
        error = None if answer.status == 200 else answer.error()
        if answer.status in (429, 503) and answer.retry_after() is None:
            error = f"no Retry-After: {error}"
        said.put(Seen(kind, answer.status, answer.seconds, error, batch))

    def ingest(sender):
        connection = Connection(address, 60, tls)
        for number in itertools.count():
            if stop.is_set():
                return
            key = {"Idempotency-Key": f"{mark}-{sender}-{number}"}
            ask("ingest", connection, "POST", "/api/v1/logs", body, {**NDJSON, **key})
            time.sleep(0.05)

    def repeat(kind, path, pause, kept):
        connection = Connection(address, 60, tls)
        while not stop.is_set():
            ask(kind, connection, "GET", path)
            if not kept:
                connection.close()
            time.sleep(pause)

    run_threads([
        (ingest, (0,)), (ingest, (1,)), (repeat, ("statement", LIGHT, 0.1, True)),
        (repeat, ("metrics", "/metrics", 0.5, False)), (repeat, ("health", "/healthz", 0.1, False)),
    ])


# Slow clients.


class Slow:
    """One kind of slow client: it sends `head`, then `drip` each tick, and reads `take` bytes each tick."""

    def __init__(self, kind, count, head, drip=b"", take=1 << 16, again=True, small_buffer=False):
        self.kind, self.count, self.head, self.drip, self.take = kind, count, head, drip, take
        self.again, self.small_buffer = again, small_buffer


class Client:
    """A slow client's connection."""

    def __init__(self, kind, address):
        self.kind, self.opened, self.answer, self.left = kind, time.monotonic(), b"", kind.head
        self.socket = socket.socket()
        if kind.small_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(10)
        self.socket.connect(address)
        self.socket.setblocking(False)

    def step(self):
        """False once the server has ended it."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        if poll.poll(0) and self.kind.take == 0:
            return False
        self.left += self.kind.drip
        try:
            if self.left:
                self.left = self.left[self.socket.send(self.left[:1 << 16]):]
        except BlockingIOError:
            pass
        except OSError:
            return self.last_words()
        try:
            if self.kind.take:
                piece = self.socket.recv(self.kind.take)
                self.answer = (self.answer + piece)[:64]
                return bool(piece)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def last_words(self):
        try:
            self.answer = (self.answer + self.socket.recv(64))[:64]
        except OSError:
            pass
        return False

    def status(self):
        words = self.answer.split(b" ", 2)
        return words[1].decode("ascii", "replace") if len(words) > 1 and words[0].startswith(b"HTTP/") else None


def be_slow(address, kinds, stop, said):
    """A process of slow clients. Says of each that ended: kind, seconds, status; and of each that did not."""
    clients = []
    queue_of = [kind for kind in kinds for _ in range(kind.count)]
    while not stop.is_set():
        started = time.monotonic()
        for kind in queue_of:
            try:
                clients.append(Client(kind, address))
            except OSError as error:
                said.put((kind.kind, 0.0, f"not connected: {error}", True))
        queue_of = []
        lives = []
        for client in clients:
            if client.step():
                lives.append(client)
                continue
            said.put((client.kind.kind, time.monotonic() - client.opened, client.status(), True))
            client.socket.close()
            if client.kind.again:
                queue_of.append(client.kind)
        clients = lives
        stop.wait(max(0.0, TICK_SECONDS - (time.monotonic() - started)))
    for client in clients:
        said.put((client.kind.kind, time.monotonic() - client.opened, client.status(), False))


def head_of(method, path, length=None, more=""):
    length = "" if length is None else f"Content-Length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}{more}\r\n".encode()


def slow_heads():
    return [
        Slow("a head a byte at a time", 200, b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"1"),
        Slow("nothing", 200, b""),
        Slow("half a head", 100, b"POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\nX-Half: "),
    ]


def slow_bodies():
    ndjson = "Content-Type: application/x-ndjson\r\n"
    fast = b'{"a":1}\n' * int(20 * 1024 * TICK_SECONDS / 8)
    return [
        Slow("a few bytes a second", 150, head_of("POST", "/api/v1/logs", 1 << 20, ndjson), b'{"a":1}\n'),
        Slow("20 KiB/s", 150, head_of("POST", "/api/v1/logs", 60 * MIB, ndjson), fast),
        Slow("a slow statement", 70, head_of("POST", "/api/v1/sql", 100_000), b" "),
        Slow("a slow Grafana", 30, head_of("POST", "/grafana/query", 100_000), b" "),
    ]


def slow_readers():
    piece = int(1024 * TICK_SECONDS)
    return [
        Slow("a result at 1 KiB/s", 40, head_of("GET", LARGE), take=piece, small_buffer=True),
        Slow("a result that is not read", 40, head_of("GET", LARGE), take=0, small_buffer=True),
        Slow("/metrics at 1 KiB/s", 100, head_of("GET", "/metrics") * 8, take=piece, small_buffer=True),
        # More than the system takes off the server's hands: what lies in its buffers counts as read.
        Slow("/metrics that is not read", UNREAD_SCRAPES, head_of("GET", "/metrics") * 512, take=0, small_buffer=True),
    ]


# HTTP/2.


class Http2:
    """A connection of HTTP/2 with prior knowledge, in the hands of somebody who means no good."""

    def __init__(self, address, window=None):
        import h2.config
        import h2.connection
        import h2.settings

        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        if window is not None:
            codes = h2.settings.SettingCodes
            self.http.local_settings = h2.settings.Settings(client=True, initial_values={
                codes.INITIAL_WINDOW_SIZE: window, codes.MAX_CONCURRENT_STREAMS: 100, codes.ENABLE_PUSH: 0})
        self.opened, self.ended = time.monotonic(), None
        self.socket = socket.create_connection(address, timeout=10)
        self.http.initiate_connection()
        self.flush()

    def flush(self):
        try:
            self.socket.sendall(self.http.data_to_send())
        except OSError:
            self.end()

    def end(self):
        self.ended = self.ended or time.monotonic() - self.opened

    def ask(self, path):
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"),
                                        (":authority", "localhost")], end_stream=True)
        return stream

    def events(self, seconds):
        """What comes within so many seconds, or until the end."""
        import h2.exceptions

        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            self.end()
            return []
        if not data:
            self.end()
            return []
        try:
            return self.http.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.end()
            return []


def open_streams(address):
    """How many streams the server allows, and what becomes of more: pairs of what and how many."""
    import h2.events

    http = Http2(address, window=0)
    while http.ended is None and http.http.remote_settings.max_concurrent_streams > 1 << 20:
        http.events(5)
    allowed = http.http.remote_settings.max_concurrent_streams
    # Beyond its word: the client's own count is set aside.
    http.http.remote_settings._settings[3].append(1 << 20)
    http.http.remote_settings._settings[3].popleft()
    for _ in range(allowed + 50):
        http.ask("/metrics")
    http.flush()
    refused = answered = 0
    deadline = time.monotonic() + 5
    while http.ended is None and time.monotonic() < deadline:
        for event in http.events(1):
            refused += isinstance(event, h2.events.StreamReset)
            answered += isinstance(event, h2.events.ResponseReceived)
    http.socket.close()
    return allowed, answered, refused


def misuse(address, how, stop, said):
    """One connection after the other, each until the server ends it. Says of each: what, seconds, whether it ended."""
    import hyperframe.frame as frames

    while not stop.is_set():
        try:
            http = Http2(address, window=0 if how == "a window of 0" else None)
        except OSError as error:
            said.put((how, 0.0, f"not connected: {error}", True))
            stop.wait(0.2)
            continue
        if how == "a window of 0":
            http.events(5)
            for number in range(STREAMS_MAX):
                http.ask("/metrics" if number % 2 else LARGE)
            http.flush()
            while http.ended is None and not stop.is_set():
                http.events(1)
        elif how == "headers that never end":
            head = frames.HeadersFrame(1, b"\x82\x84\x86")
            pieces = itertools.chain([head], (frames.ContinuationFrame(1, b"\x00\x01x\x01y" * 3000)
                                              for _ in itertools.count()))
            send_frames(http, pieces, stop)
        elif how == "pings":
            send_frames(http, (frames.PingFrame(0, b"driftlin") for _ in itertools.count()), stop)
        elif how == "reset at once":
            reset_streams(http, stop)
        said.put((how, http.ended or time.monotonic() - http.opened, None, http.ended is not None))
        http.socket.close()


def send_frames(http, pieces, stop):
    """As fast as the server takes them, without an answer being read."""
    http.socket.settimeout(1)
    for piece in pieces:
        if stop.is_set():
            return
        data = piece.serialize() * (1 if piece.type == 1 else 64)
        try:
            http.socket.sendall(data)
        except TimeoutError:
            # Its answers fill the pipe: the server does not take more either.
            if stop.wait(1):
                return
        except OSError:
            http.end()
            return


def reset_streams(http, stop):
    import h2.exceptions

    while http.ended is None and not stop.is_set():
        try:
            for _ in range(20):
                http.http.reset_stream(http.ask("/metrics"))
        except h2.exceptions.ProtocolError:
            http.end()
            return
        http.flush()
        http.events(0.001)


# The check.


class Phase:
    """One phase's figures."""

    def __init__(self, name):
        self.name, self.peak, self.seconds, self.killed = name, 0, 0.0, False
        self.seen, self.slow = [], []


class Clients:
    """The phases one after the other, on one directory."""

    def __init__(self, options, work):
        self.options, self.work, self.claims = options, work, Claims()
        self.lines = generate(work / "text.ndjson", 1, "2026-05-01T00:00:00Z", 10, options.records // 10)
        self.acked, self.unknown, self.phases, self.server, self.keys = {}, 0, [], None, {}

    def start(self, settings="", data=None):
        self.server = Server(data or self.work / "data", self.work, settings)
        self.killed = CONTEXT.Value(ctypes.c_bool, False)
        self.peak = CONTEXT.Value(ctypes.c_longlong, 0)
        arguments = (self.server.child.pid, KILL_BYTES, self.killed, self.peak)
        CONTEXT.Process(target=watch, args=arguments, daemon=True).start()
        self.server.wait_ready()

    def load(self):
        for start in range(0, len(self.lines), 2000):
            lines = self.lines[start:start + 2000]
            answer = self.server.ask("POST", "/api/v1/logs", b"".join(lines), NDJSON)
            if answer.status != 200:
                raise SystemExit(f"the history is not taken: {answer.status} {answer.error()}")
            self.acked[answer.json()["seq"]] = len(lines)

    def run(self):
        for name in self.options.phases:
            getattr(self, name)()

    # Phases.

    def during(self, name, crowds, seconds=None, headers=None, tls=None, counted=True, patient=None):
        """A phase: crowds are functions of `stop` and `said` that run in processes of their own."""
        phase = Phase(name)
        self.phases.append(phase)
        if not self.server.runs():
            self.start()
        stop, said, seen = CONTEXT.Event(), CONTEXT.Queue(), CONTEXT.Queue()
        self.peak.value = 0
        arguments = (self.server.address, self.lines, stop, seen, f"{name}-{time.time_ns()}", headers, tls)
        bystanders = CONTEXT.Process(target=stand_by, args=arguments, daemon=True)
        processes = [CONTEXT.Process(target=crowd, args=(*more, stop, said), daemon=True) for crowd, *more in crowds]
        started = time.monotonic()
        for process in processes:
            process.start()
        # The crowd holds what it holds before others come.
        time.sleep(2)
        bystanders.start()
        end = time.monotonic() + (self.options.seconds if seconds is None else seconds)
        while time.monotonic() < end and self.server.runs():
            drain(seen, phase.seen)
            drain(said, phase.slow)
            time.sleep(0.1)
        phase.series = self.series(headers, tls)
        stop.set()
        patience = time.monotonic() + 90
        while any(process.is_alive() for process in [bystanders, *processes]) and time.monotonic() < patience:
            drain(seen, phase.seen)
            drain(said, phase.slow)
            time.sleep(0.05)
        for process in [bystanders, *processes]:
            if process.is_alive():
                process.kill()
        drain(seen, phase.seen)
        drain(said, phase.slow)
        phase.seconds, phase.peak, phase.killed = time.monotonic() - started, self.peak.value, self.killed.value
        if counted:
            self.count(phase)
        self.judge(phase, patient)
        return phase

    def count(self, phase):
        for seen in phase.seen:
            if seen.batch is not None:
                self.acked[seen.batch] = 100
            elif seen.kind == "ingest" and seen.status is None:
                self.unknown += 1

    def series(self, headers, tls):
        """The server's own figures of its connections."""
        connection = Connection(self.server.address, 60, tls)
        try:
            text = connection.ask("GET", "/metrics", headers=headers or {}).body.decode()
        except Broken:
            return {}
        finally:
            connection.close()
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("driftline_http_"))
        return {name: float(value) for name, _, value in lines}

    def heads(self):
        phase = self.during("heads", [(be_slow, self.server.address, slow_heads())])
        self.judge_slow(phase, HEAD_SECONDS_MAX + LATE_SECONDS)

    def bodies(self):
        phase = self.during("bodies", [(be_slow, self.server.address, slow_bodies())])
        kinds = ("a few bytes a second", "a slow statement", "a slow Grafana")
        self.judge_slow(phase, BODY_SECONDS_MAX + LATE_SECONDS, kinds)

    def readers(self):
        before = self.closed(self.series(bearer(self.keys["busy 0"]) if self.keys else {}, None))
        # Who reads nothing has the time of a piece once the system's buffers are full.
        seconds = self.options.seconds + READ_SECONDS_MAX
        phase = self.during("readers", [(be_slow, self.server.address, slow_readers())], seconds)
        self.judge_slow(phase, READ_SECONDS_MAX + LATE_SECONDS, ())
        # Who reads nothing does not see the end either, so the server's book is asked. Of the results, those count
        # that had a turn: the others are answered 503, which the system's buffers take.
        after = self.closed(phase.series)
        unread, turns = (after.get(why, 0) - before.get(why, 0) for why in ("unread", "statements"))
        self.claims.check(f"readers: who reads nothing is ended within {seconds:.0f} s",
                          unread >= UNREAD_SCRAPES and unread + turns >= UNREAD_SCRAPES + STATEMENTS_MAX,
                          f"{unread:.0f} for what they did not read, {turns:.0f} for a statement's turn; "
                          f"{UNREAD_SCRAPES} scrapes and {STATEMENTS_MAX} results at a time went unread")

    @staticmethod
    def closed(series):
        """How many connections the server closed, by why."""
        found = (re.fullmatch(r'driftline_http_connections_closed_total\{reason="(\w+)"\}', name) for name in series)
        return {match[1]: series[match[0]] for match in found if match}

    def http2(self):
        try:
            import h2.connection  # noqa: F401
        except ImportError:
            self.claims.note("http2", "left out: the package h2 is not there (python3 -m venv, pip install h2)")
            return
        address = self.server.address
        allowed, answered, refused = open_streams(address)
        self.claims.check("http2: streams of a connection are bounded", allowed == STREAMS_MAX and refused > 0,
                          f"{allowed} allowed, {answered} answered, {refused} refused")
        for how in ("a window of 0", "reset at once", "headers that never end", "pings"):
            phase = self.during(f"http2, {how}", [(misuse, address, how)] * 10)
            if how in ("a window of 0", "headers that never end"):
                self.judge_slow(phase, READ_SECONDS_MAX + LATE_SECONDS)

    def tls(self):
        own, acked = self.server, self.acked
        self.acked = {}
        settings = f'[server]\ntls_cert = "{TLS / "cert.pem"}"\ntls_key = "{TLS / "key.pem"}"\n'
        context = ssl.create_default_context(cafile=TLS / "cert.pem")
        try:
            self.server = Server(self.work / "tls", self.work, settings)
            self.server.tls = context
            self.watch_again()
            self.server.wait_ready()
            hello = client_hello()
            kinds = [Slow("no hello", 200, b""), Slow("half a hello", 100, hello[:40]),
                     Slow("a hello and no more", 100, hello)]
            phase = self.during("tls", [(be_slow, self.server.address, kinds)], tls=context, counted=False)
            self.judge_slow(phase, HEAD_SECONDS_MAX + LATE_SECONDS)
            self.server.stop()
        finally:
            self.server.kill()
            self.server, self.acked = own, acked
            self.watch_again()

    def watch_again(self):
        self.killed, self.peak = CONTEXT.Value(ctypes.c_bool, False), CONTEXT.Value(ctypes.c_longlong, 0)
        CONTEXT.Process(target=watch, args=(self.server.child.pid, KILL_BYTES, self.killed, self.peak),
                        daemon=True).start()

    def idle(self):
        for number in self.options.idle:
            before = self.server.process.resident()
            kinds = [Slow("silent", number // 2, b"", again=False),
                     Slow("kept after a request", number - number // 2, head_of("GET", "/healthz"), again=False)]
            # The last number is held until all are overdue.
            last = number == self.options.idle[-1]
            seconds = IDLE_SECONDS_MAX + LATE_SECONDS if last else min(self.options.seconds, 20)
            phase = self.during(f"{number} idle", [(be_slow, self.server.address, kinds)], seconds)
            said = f"{mib(before)} before, at most {mib(phase.peak)}, with what the bystanders take"
            self.claims.note(f"{phase.name}: memory", said)
            open_now = phase.series.get("driftline_http_connections")
            self.claims.check(f"{phase.name}: connections are counted and bounded",
                              open_now is not None and open_now <= CONNECTIONS_MAX, f"{open_now} open at the end")
            if last:
                self.judge_slow(phase, IDLE_SECONDS_MAX + LATE_SECONDS)

    def files(self):
        """With few files to open, connections must not take those that the store needs."""
        own, acked, named = self.server, self.acked, os.environ.get("DRIFTLINE")
        self.acked = {}
        wrapper = self.work / "few-files"
        wrapper.write_text(f'#!/bin/sh\nulimit -n 400\nexec "{binary()}" "$@"\n')
        wrapper.chmod(0o755)
        os.environ["DRIFTLINE"] = str(wrapper)
        try:
            self.start("[buffer]\nflush_interval_ms = 2000\n", self.work / "files")
            kinds = [Slow("silent", 500, b""), Slow("kept after a request", 500, head_of("GET", "/healthz"))]
            phase = self.during("files", [(be_slow, self.server.address, kinds)], 20, counted=False)
            complaints = self.server.complaints()
            self.claims.check("files: the store can open what it needs", not complaints,
                              complaints[0] if complaints else f"{self.server.process.open_files()} files are open")
            status = self.server.status()
            self.claims.check("files: batches are committed", status["books"]["committed"] > 0, str(status["books"]))
            self.count(phase)
            self.server.stop()
        finally:
            self.server.kill()
            if named is None:
                del os.environ["DRIFTLINE"]
            else:
                os.environ["DRIFTLINE"] = named
            self.server, self.acked = own, acked
            self.watch_again()

    def postgres(self):
        own, acked = self.server, self.acked
        self.acked = {}
        try:
            self.start('[postgres]\nlisten = "127.0.0.1:0"\n', self.work / "postgres")
            said = re.search(r"listening on postgresql://127.0.0.1:(\d+)/", self.server.log.read_text(errors="replace"))
            address = ("127.0.0.1", int(said[1]))
            kinds = [Slow("says nothing", 300, b""), Slow("says half", 100, POSTGRES_START[:9])]
            crowds = [(be_slow, address, kinds), (sit_in_postgres, address, 40), (ask_postgres, address)]
            phase = self.during("postgres", crowds, counted=False)
            asked = [one for one in phase.slow if one[0] == ASKED]
            seats = sum(held for kind, _, held, _ in phase.slow if kind == SEATED)
            phase.slow = [one for one in phase.slow if one[0] not in (ASKED, SEATED)]
            self.claims.check("postgres: 40 sit and ask nothing", seats == 40, f"{seats} had a seat")
            self.judge_slow(phase, HANDSHAKE_SECONDS_MAX + LATE_SECONDS)
            taken = [seconds for _, seconds, status, _ in asked if status == "ok"]
            other = [status for *_, status, _ in asked if status != "ok"]
            holds = taken and quantile(taken, 0.99) <= self.options.latency and len(other) <= len(asked) / 100
            said = f"{len(taken):,} of {len(asked):,} answered"
            said += f", p99 {quantile(taken, 0.99):.3f} s, longest {max(taken):.3f} s" if taken else ""
            self.claims.check("postgres: others connect and ask", holds, said + "".join(f"; {each}" for each in other[:1]))
            self.count(phase)
            self.server.stop()
        finally:
            self.server.kill()
            self.server, self.acked = own, acked
            self.watch_again()

    def storm(self):
        address = self.server.address
        phase = self.during("storm without keys", [(ask_at_once, address, [{}], HEAVY)], patient="statement")
        self.judge_storm(phase, {"503"})
        self.keys = {name: self.make_key(name) for name in ("admin", "calm", *(f"busy {n}" for n in range(6)))}
        calm = bearer(self.keys["calm"])
        busy = [bearer(key) for name, key in self.keys.items() if name.startswith("busy")]
        phase = self.during("storm of one key", [(ask_at_once, address, busy[:1], HEAVY)], headers=calm)
        self.judge_storm(phase, {"429"})
        phase = self.during("storm of six keys", [(ask_at_once, address, busy, HEAVY)], headers=calm,
                            patient="statement")
        self.judge_storm(phase, {"429", "503"})
        # Turns are shared out among tenants: who has another scope than the busy ones waits for one statement's end.
        rows = self.server.ask("GET", target("select distinct tenant_id as name from agent_logs"), headers=calm).json()
        bound = [bearer(self.make_key(f"bound {n}", [row["name"] for row in rows if row["name"]])) for n in range(6)]
        phase = self.during("storm of six keys of tenants", [(ask_at_once, address, bound, HEAVY)], headers=calm)
        self.judge_storm(phase, {"429", "503"})
        none = [bearer("dl_0123456789abcdef_" + "0" * 43), {}]
        lines = len(self.server.log.read_text(errors="replace").splitlines())
        phase = self.during("keys that are none", [(ask_at_once, address, none, LIGHT)], headers=calm)
        lines = len(self.server.log.read_text(errors="replace").splitlines()) - lines
        denied = sum(1 for *_, status, ended in phase.slow if status == "401")
        self.claims.check("keys that are none: all are answered 401", denied == len(phase.slow) and denied > 0,
                          f"{denied:,} of {len(phase.slow):,}")
        self.claims.check("keys that are none: the log is not flooded", lines <= 6 * phase.seconds + 20,
                          f"{lines} lines in {phase.seconds:.0f} s")

    def make_key(self, name, tenants=()):
        scope = "admin" if name == "admin" else "ingest,query"
        command = [binary(), "key", "create", "--name", name, "--scope", scope, "--data", str(self.server.data)]
        command += [part for tenant in tenants for part in ("--tenant", tenant)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    # What is claimed.

    def judge(self, phase, patient=None):
        check, name = self.claims.check, phase.name
        check(f"{name}: the server stays up", self.server.runs() and not phase.killed,
              "killed by the watcher" if phase.killed else "it runs" if self.server.runs() else "it ended")
        check(f"{name}: memory stays below 1 GiB", phase.peak < MEMORY_BYTES_MAX, f"at most {mib(phase.peak)}")
        for kind in ("ingest", "statement", "metrics", "health"):
            seen = [one for one in phase.seen if one.kind == kind]
            taken = [one.seconds for one in seen if one.status == 200]
            other = [one for one in seen if one.status != 200]
            late = quantile(taken, 0.99)
            holds = taken and late <= self.options.latency and len(other) <= len(seen) / 100
            said = f"{len(taken):,} of {len(seen):,} with 200"
            if taken:
                said += f", p50 {quantile(taken, 0.5):.3f} s, p99 {late:.3f} s, longest {max(taken):.3f} s"
            if other:
                said += f"; the first other: {other[0].status} {other[0].error}"
            if kind == patient:
                # Who asks for what all ask for stands in the same line.
                self.claims.note(f"{name}: others' {kind}", said)
                continue
            check(f"{name}: others' {kind} goes on", holds, said)
        bare = [one for one in phase.seen if one.error and one.error.startswith("no Retry-After")]
        if bare:
            check(f"{name}: who is refused is told when to come back", False, bare[0].error)

    def judge_slow(self, phase, seconds_max, kinds=None):
        """Slow clients do not stay."""
        by_kind = collections.defaultdict(list)
        for kind, seconds, status, ended in phase.slow:
            by_kind[kind].append((seconds, status, ended))
        for kind, ends in by_kind.items():
            longest = max(seconds for seconds, *_ in ends)
            statuses = collections.Counter(str(status) for _, status, ended in ends if ended)
            lasting = sum(1 for *_, ended in ends if not ended)
            said = (f"at most {longest:.0f} s; {lasting} open at the end; "
                    f"{', '.join(f'{count} × {status}' for status, count in statuses.items()) or 'none'} ended")
            if kinds is None or kind in kinds:
                self.claims.check(f"{phase.name}: {kind} is ended within {seconds_max:.0f} s", longest <= seconds_max,
                                  said)
            else:
                self.claims.note(f"{phase.name}: {kind}", said)

    def judge_storm(self, phase, expected):
        statuses = collections.Counter(str(status) for *_, status, _ in phase.slow)
        bare = sum(1 for kind, *_ in phase.slow if kind == "no Retry-After")
        said = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
        self.claims.check(f"{phase.name}: what is too much is refused and told when to come back",
                          expected <= statuses.keys() <= expected | {"200", "408", "422"} and not bare,
                          f"{said}; {bare} without Retry-After")

    def judge_store(self, when):
        check, headers = self.claims.check, bearer(self.keys["busy 0"]) if self.keys else {}
        statement = "select ingest_seq, count(*) as n from agent_logs group by ingest_seq"
        answer = self.server.ask("GET", target(statement), headers=headers)
        if answer.status != 200:
            check(f"{when}: the store can be asked", False, f"{answer.status} {answer.error()}")
            return
        found = {row["ingest_seq"]: row["n"] for row in answer.json()}
        wrong = [seq for seq, rows in self.acked.items() if found.get(seq) != rows]
        strange = len(found.keys() - self.acked.keys())
        check(f"{when}: each acknowledged batch is there once, and nothing else", not wrong and strange <= self.unknown,
              f"{len(self.acked):,} batches; {len(wrong)} missing or different, {strange} unknown of {self.unknown} "
              "without an answer")
        books = self.server.ask("GET", "/api/v1/status", headers=headers).json()["books"]
        check(f"{when}: accepted = committed + buffered", books["accepted"] == books["committed"] + books["buffered"],
              f"{books['accepted']:,} = {books['committed']:,} + {books['buffered']:,}")

    def table(self):
        rows = []
        for phase in self.phases:
            cells = [phase.name, f"{phase.seconds:.0f} s", mib(phase.peak)]
            for kind in ("ingest", "statement", "metrics", "health"):
                seen = [one for one in phase.seen if one.kind == kind]
                taken = [one.seconds for one in seen if one.status == 200]
                late = f"{quantile(taken, 0.99):.2f} s" if taken else "-"
                cells.append(f"{len(taken)}/{len(seen)}, {late}")
            rows.append(cells)
        return markdown(rows, ("phase", "time", "memory, peak", "ingest", "statements", "/metrics", "/healthz"))


def ask_at_once(address, headers, path, stop, said):
    """300 askers; says of each answer: what, seconds, status."""

    def ask(asker):
        connection = Connection(address, 150)
        while not stop.is_set():
            started = time.monotonic()
            try:
                answer = connection.ask("GET", path, headers=headers[asker % len(headers)])
            except Broken as error:
                said.put(("broken", time.monotonic() - started, str(error), True))
                stop.wait(0.5)
                continue
            bare = answer.status in (429, 503) and answer.retry_after() is None
            said.put(("no Retry-After" if bare else "asked", answer.seconds, str(answer.status), True))
            # A quarter of the second that is asked for: these are no good clients.
            stop.wait(0.25 if answer.status in (429, 503) else 0.01)

    run_threads([(ask, (asker,)) for asker in range(300 if path == HEAVY else 50)])


# What a client of Postgres begins with: its length, version 3.0, and whose.
POSTGRES_PARAMETERS = b"user\0a\0database\0driftline\0\0"
POSTGRES_START = struct.pack("!ii", 8 + len(POSTGRES_PARAMETERS), 196608) + POSTGRES_PARAMETERS
POSTGRES_QUESTION = b"select count(*) as n from agent_logs\0"
ASKED, SEATED = "asks", "sits"


class Postgres:
    """One connection to the port for clients of Postgres, as far as it takes to ask."""

    def __init__(self, address):
        self.tcp = socket.create_connection(address, timeout=60)
        self.tcp.sendall(POSTGRES_START)
        self.until_ready()

    def ask(self):
        self.tcp.sendall(b"Q" + struct.pack("!i", 4 + len(POSTGRES_QUESTION)) + POSTGRES_QUESTION)
        return self.until_ready()

    def until_ready(self):
        """The kinds of messages until the server waits."""
        kinds = []
        while kinds[-1:] != [b"Z"]:
            head = self.take(5)
            body = self.take(struct.unpack("!i", head[1:])[0] - 4)
            kinds.append(head[:1])
            if head[:1] == b"E":
                raise Broken(body.decode(errors="replace"))
        return kinds

    def take(self, count):
        taken = b""
        while len(taken) < count:
            piece = self.tcp.recv(count - len(taken))
            if not piece:
                raise Broken("the connection was closed")
            taken += piece
        return taken


def sit_in_postgres(address, seats, stop, said):
    """Connections that are let in and then ask nothing; says how many there are."""
    held = []
    while len(held) < seats and not stop.is_set():
        try:
            held.append(Postgres(address))
        except (OSError, Broken):
            stop.wait(0.05)
    said.put((SEATED, 0.0, len(held), False))
    stop.wait()
    for one in held:
        one.tcp.close()


def ask_postgres(address, stop, said):
    """Somebody who connects, asks and goes; says of each time: what, seconds, how it went."""
    while not stop.is_set():
        started, status = time.monotonic(), "ok"
        try:
            connection = Postgres(address)
            if b"D" not in connection.ask():
                status = "no row"
            connection.tcp.close()
        except (OSError, Broken) as error:
            status = str(error)
        said.put((ASKED, time.monotonic() - started, status, True))
        stop.wait(0.1)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def client_hello():
    """The first flight of a handshake."""
    context, incoming, outgoing = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def drain(said, into):
    while True:
        try:
            into.append(said.get_nowait())
        except queue.Empty:
            return


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45, help="of each phase")
    parser.add_argument("--idle", default="1000,5000", help="numbers of idle connections")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--phases", default=",".join(PHASES), help="some of them, separated by commas")
    parser.add_argument("--latency", type=float, default=5, help="most seconds for 99 of 100 bystanders' requests")
    parser.add_argument("--json", type=pathlib.Path, help="where claims and figures go")
    options = parser.parse_args()
    options.phases = options.phases.split(",")
    options.idle = [int(number) for number in options.idle.split(",")]
    if not set(options.phases) <= set(PHASES):
        parser.error(f"the phases are {', '.join(PHASES)}")
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < max(options.idle) + 200:
        parser.error(f"this process may open {most} files: fewer than {max(options.idle)} connections need")
    return options


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="driftline-clients-"))
    clients = None
    # The server and its directory go, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        clients = Clients(options, work)
        clients.start()
        print(f"{version()} on {machine()}; {len(clients.lines):,} records of history", flush=True)
        clients.load()
        clients.run()
        if not clients.server.runs():
            clients.start()
        clients.judge_store("afterwards")
        clients.server.stop()
        clients.start()
        clients.judge_store("after a restart")
        clients.server.stop()
        print(f"\n{clients.table()}\n")
        code = clients.claims.finish()
        if options.json:
            options.json.write_text(json.dumps({"claims": clients.claims.made, "table": clients.table()}, indent=1))
        return code
    finally:
        if clients is not None and clients.server is not None:
            clients.server.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
