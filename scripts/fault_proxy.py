#!/usr/bin/env python3
"""An HTTP/1.1 proxy on loopback that makes the server behind it fail in chosen ways.

usage: fault_proxy.py --upstream 127.0.0.1:PORT [--listen 127.0.0.1:0] [--control 127.0.0.1:0] [--seed 1]

Prints `proxy http://HOST:PORT` and `control http://HOST:PORT` once both listen, and ends on SIGTERM or
SIGINT. Needs nothing but Python 3.9. The request is passed on as it came, Host included, so that signed
requests stay valid; each one takes a new connection to the server.

Control:

  POST /faults    adds one fault, or each of a list; answers all that are set
  GET /faults     those that are set
  DELETE /faults  ends all
  GET /counts     what was asked, forwarded, answered and hit so far
  DELETE /counts  counts from zero

A fault is a JSON object. `mode` is needed:

  status       the request is not forwarded; the answer is `status` (default 503) with an S3 error
  refuse       the request is not forwarded; the connection is closed without an answer
  hang         the request is not forwarded and never answered; `release`: true closes the connection when
               the fault ends, else it stays open until the client gives up
  cut          the request is performed, and the connection reset in the middle of the response body, or of
               its head where it has no body
  lost_answer  the request is performed, but its answer is thrown away: the client gets `status` (default
               500) or a reset connection, as `answer` says: `status`, `close`, or `either` (default)
  slow         both bodies pass with at most `bytes_per_second` each

and any of these narrow it:

  share    part of the requests that are hit, by chance (default 1)
  seconds  how long it lasts (default until it is deleted)
  times    how many requests are hit at most
  methods  for instance ["PUT"]
  path     a regular expression that is searched in the path and query

The first fault that hits a request decides. The chances come from the seed, in the order of the requests.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import signal
import socket
import sys
import time
from collections import Counter

HEAD_BYTES_MAX = 64 * 1024
CONTROL_BODY_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS_MAX = 5
# How many steps a second of a slow body has.
SLOW_STEPS_PER_SECOND = 20
MODES = {"status", "refuse", "hang", "cut", "lost_answer", "slow"}
REASONS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 412: "Precondition Failed",
           429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
           504: "Gateway Timeout"}
S3_CODES = {500: "InternalError", 503: "SlowDown"}
# These speak of one connection, not of the message.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection"}


class BadMessage(Exception):
    """Something that is not HTTP/1.1 as it is understood here."""


class Gone(Exception):
    """The other side closed the connection between two messages."""


class Fault:
    """One way to fail, and when."""

    FIELDS = {
        "mode": str, "share": (int, float), "seconds": (int, float), "times": int, "methods": list, "path": str,
        "status": int, "release": bool, "answer": str, "bytes_per_second": (int, float),
    }

    def __init__(self, fields):
        if not isinstance(fields, dict):
            raise ValueError("a fault is a JSON object")
        for name, value in fields.items():
            wanted = self.FIELDS.get(name)
            if wanted is None:
                raise ValueError(f"{name} is no field of a fault")
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise ValueError(f"{name} has the wrong type")
        self.fields = fields
        self.mode = fields.get("mode")
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(sorted(MODES))}")
        self.share = fields.get("share", 1.0)
        if not 0 <= self.share <= 1:
            raise ValueError("share is from 0 to 1")
        seconds = fields.get("seconds")
        self.ends = None if seconds is None else time.monotonic() + seconds
        self.times_left = fields.get("times")
        methods = fields.get("methods")
        self.methods = None if methods is None else {str(method).upper() for method in methods}
        self.path = re.compile(fields.get("path", ""))
        self.status = fields.get("status", 500 if self.mode == "lost_answer" else 503)
        if not 400 <= self.status <= 599:
            raise ValueError("status is from 400 to 599")
        self.release = fields.get("release", False)
        self.answer = fields.get("answer", "either")
        if self.answer not in ("status", "close", "either"):
            raise ValueError("answer is status, close or either")
        self.bytes_per_second = fields.get("bytes_per_second")
        if self.mode == "slow" and (self.bytes_per_second is None or self.bytes_per_second <= 0):
            raise ValueError("slow needs bytes_per_second above 0")
        self.hits = 0
        # Set when the fault is deleted.
        self.deleted = asyncio.Event()

    def is_over(self):
        return (
            self.deleted.is_set()
            or (self.ends is not None and time.monotonic() >= self.ends)
            or (self.times_left is not None and self.times_left <= 0)
        )

    async def end(self):
        """Waits for the end of the fault."""
        left = None if self.ends is None else max(0.0, self.ends - time.monotonic())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.deleted.wait(), left)

    def meets(self, method, target, chance):
        if self.is_over() or (self.methods is not None and method not in self.methods):
            return False
        if not self.path.search(target) or chance.random() >= self.share:
            return False
        self.hits += 1
        if self.times_left is not None:
            self.times_left -= 1
        return True

    def shown(self):
        left = {} if self.ends is None else {"seconds_left": round(max(0.0, self.ends - time.monotonic()), 3)}
        return {**self.fields, **left, "hits": self.hits}


class Counts:
    """What happened."""

    def __init__(self):
        self.requests = Counter()
        self.forwarded = Counter()
        self.answers = Counter()
        self.hits = {}

    def hit(self, mode, method):
        self.hits.setdefault(mode, Counter())[method] += 1

    def shown(self, hanging):
        return {
            "requests": dict(self.requests),
            "forwarded": dict(self.forwarded),
            "answers": {str(status): count for status, count in sorted(self.answers.items())},
            "hits": {mode: dict(methods) for mode, methods in sorted(self.hits.items())},
            "hanging": hanging,
        }


class Head:
    """The start line and the fields of a message."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.start = lines[0]
        self.fields = []
        for line in lines[1:]:
            if not line:
                continue
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadMessage(f"not a header field: {line[:80]!r}")
            self.fields.append((name, value.strip()))

    def get(self, name):
        """The values of a field, joined; None where it is not there."""
        values = [value for field, value in self.fields if field.lower() == name]
        return ", ".join(values) if values else None

    def bytes(self, connection, drop=()):
        dropped = HOP_BY_HOP | set(drop)
        lines = [self.start] + [f"{name}: {value}" for name, value in self.fields if name.lower() not in dropped]
        return "\r\n".join([*lines, f"Connection: {connection}", "", ""]).encode("latin-1")

    def keeps_alive(self, version):
        connection = (self.get("connection") or "").lower()
        return "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection

    def length(self):
        """How the body ends: a number of bytes, `chunked`, or None where neither is said."""
        coding = self.get("transfer-encoding")
        if coding is not None:
            if coding.lower().split(",")[-1].strip() != "chunked":
                raise BadMessage(f"transfer coding {coding}")
            return "chunked"
        length = self.get("content-length")
        if length is None:
            return None
        if not (length.isascii() and length.isdigit()):
            raise BadMessage(f"content length {length}")
        return int(length)


async def read_head(reader):
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadMessage("the connection ended in a head") from error
        raise Gone from error
    except asyncio.LimitOverrunError as error:
        raise BadMessage("a head is too long") from error
    return Head(raw)


async def body_pieces(reader, length):
    """The pieces of a body with its framing; `until-close` takes all that comes."""
    if length == "chunked":
        while True:
            line = await reader.readuntil(b"\r\n")
            try:
                size = int(line.split(b";")[0].strip(), 16)
            except ValueError as error:
                raise BadMessage("not a chunk size") from error
            yield line
            if size == 0:
                break
            async for piece in body_pieces(reader, size):
                yield piece
            yield await reader.readexactly(2)
        while True:
            trailer = await reader.readuntil(b"\r\n")
            yield trailer
            if trailer == b"\r\n":
                return
    elif length == "until-close":
        while piece := await reader.read(CHUNK_BYTES):
            yield piece
    else:
        left = length
        while left:
            piece = await reader.read(min(left, CHUNK_BYTES))
            if not piece:
                raise BadMessage("the connection ended in a body")
            left -= len(piece)
            yield piece


async def send(writer, data, bytes_per_second=None):
    if bytes_per_second is None:
        writer.write(data)
        await writer.drain()
        return
    step = max(1, int(bytes_per_second / SLOW_STEPS_PER_SECOND))
    for start in range(0, len(data), step):
        piece = data[start:start + step]
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(len(piece) / bytes_per_second)


def reset(writer):
    """Closes with a TCP reset, as a machine that went away does."""
    if writer is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Proxy:
    """The proxy and its faults."""

    def __init__(self, upstream, seed):
        self.upstream = upstream
        self.chance = random.Random(seed)
        self.faults = []
        self.counts = Counts()
        self.hanging = 0

    # The side of the clients.

    async def serve(self, reader, writer):
        try:
            while await self.exchange(reader, writer):
                pass
        except Gone:
            pass
        except (BadMessage, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            print(f"connection dropped: {error!r}", file=sys.stderr, flush=True)
            reset(writer)
        except asyncio.CancelledError:
            # The proxy ends.
            reset(writer)
        finally:
            writer.close()

    async def exchange(self, reader, writer):
        """One request and its answer; false when the connection ends with it."""
        head = await read_head(reader)
        method, target, version = split_start(head.start)
        length = head.length() or 0
        keep = head.keeps_alive(version)
        self.counts.requests[method] += 1
        fault = next((fault for fault in self.faults if fault.meets(method, target, self.chance)), None)
        mode = fault.mode if fault else None
        if fault:
            self.counts.hit(mode, method)
        if mode == "refuse":
            reset(writer)
            return False
        if mode == "hang":
            await self.hang(fault, reader)
            reset(writer)
            return False
        if (head.get("expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if mode == "status":
            async for _ in body_pieces(reader, length):
                pass
            return await self.answer_status(fault, method, writer, keep)
        return await self.forward(fault, head, method, length, keep, reader, writer)

    async def hang(self, fault, reader):
        """Reads and says nothing until the client goes, or until the fault ends where it says so."""

        async def client_goes():
            with contextlib.suppress(OSError):
                while await reader.read(CHUNK_BYTES):
                    pass

        self.hanging += 1
        try:
            waits = [asyncio.ensure_future(client_goes())]
            if fault.release:
                waits.append(asyncio.ensure_future(fault.end()))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        finally:
            self.hanging -= 1

    async def answer_status(self, fault, method, writer, keep):
        self.counts.answers[fault.status] += 1
        await send(writer, failure(fault.status, "a fault that was asked for", method, keep))
        return keep

    async def forward(self, fault, head, method, length, keep, reader, writer):
        mode = fault.mode if fault else None
        rate = fault.bytes_per_second if mode == "slow" else None
        try:
            upstream = await asyncio.wait_for(
                asyncio.open_connection(*self.upstream, limit=HEAD_BYTES_MAX), CONNECT_SECONDS_MAX
            )
        except (OSError, asyncio.TimeoutError) as error:
            async for _ in body_pieces(reader, length):
                pass
            self.counts.answers[502] += 1
            await send(writer, failure(502, f"the server cannot be reached: {error}", method, keep))
            return keep
        up_reader, up_writer = upstream
        self.counts.forwarded[method] += 1
        request = asyncio.ensure_future(
            pass_request(head.bytes("close", drop=["expect"]), reader, length, up_writer, rate)
        )
        try:
            # A server may answer before it has read everything; the rest is read all the same.
            answer = await read_answer_head(up_reader)
            status = int(answer.start.split(" ", 2)[1])
            answer_length = answer.length()
            if method == "HEAD" or status in (204, 304):
                body_length = 0
            elif answer_length is None:
                body_length, keep = "until-close", False
            else:
                body_length = answer_length
            pieces = body_pieces(up_reader, body_length)
            answer.start = "HTTP/1.1 " + answer.start.split(" ", 1)[1]
            answer_head = answer.bytes("keep-alive" if keep else "close")
            if mode == "lost_answer":
                async for _ in pieces:
                    pass
                await request
                return await self.lose(fault, method, writer, keep)
            self.counts.answers[status] += 1
            if mode == "cut":
                await cut(writer, answer_head, pieces, body_length)
                return False
            await send(writer, answer_head)
            async for piece in pieces:
                await send(writer, piece, rate)
            await request
            return keep
        except (Gone, BadMessage, asyncio.IncompleteReadError, OSError) as error:
            # One side went away in the middle: so does this connection.
            if not isinstance(error, Gone):
                print(f"{method} broken off: {error!r}", file=sys.stderr, flush=True)
            reset(writer)
            return False
        finally:
            request.cancel()
            with contextlib.suppress(asyncio.CancelledError, BadMessage, asyncio.IncompleteReadError, OSError):
                await request
            up_writer.close()

    async def lose(self, fault, method, writer, keep):
        closes = fault.answer == "close" or (fault.answer == "either" and self.chance.random() < 0.5)
        if closes:
            reset(writer)
            return False
        return await self.answer_status(fault, method, writer, keep)

    # The side of the control port.

    async def control(self, reader, writer):
        try:
            head = await read_head(reader)
            method, target, _ = split_start(head.start)
            length = head.length() or 0
            if length == "chunked" or length > CONTROL_BODY_BYTES_MAX:
                raise BadMessage("a body that is chunked or too long")
            body = await reader.readexactly(length)
            status, document = self.command(method, target, body)
            text = (json.dumps(document) + "\n").encode()
            fields = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {status} {REASONS.get(status, 'OK')}\r\n{fields}".encode() + text)
            await writer.drain()
        except (Gone, BadMessage, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def command(self, method, target, body):
        self.faults = [fault for fault in self.faults if not fault.is_over()]
        if target == "/faults" and method == "POST":
            try:
                documents = json.loads(body)
                added = [Fault(fields) for fields in (documents if isinstance(documents, list) else [documents])]
            except (ValueError, re.error) as error:
                return 400, {"error": str(error)}
            self.faults += added
        elif target == "/faults" and method == "DELETE":
            for fault in self.faults:
                fault.deleted.set()
            self.faults = []
        elif target == "/counts" and method == "DELETE":
            self.counts = Counts()
        elif (target, method) not in (("/faults", "GET"), ("/counts", "GET")):
            return 404, {"error": "POST, GET or DELETE /faults; GET or DELETE /counts"}
        if target == "/counts":
            return 200, self.counts.shown(self.hanging)
        return 200, [fault.shown() for fault in self.faults]


def split_start(start):
    parts = start.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadMessage(f"not a request: {start[:80]!r}")
    return parts


def failure(status, message, method, keep):
    """An answer as S3 words its errors."""
    code = S3_CODES.get(status, "InternalError")
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    body = document.encode()
    head = (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)


async def pass_request(head, reader, length, up_writer, rate):
    """Sends a request on; once the server reads no more, what is left of it is thrown away."""
    reads = True
    try:
        await send(up_writer, head)
    except OSError:
        reads = False
    try:
        async for piece in body_pieces(reader, length):
            if reads:
                try:
                    await send(up_writer, piece, rate)
                except OSError:
                    reads = False
    except (BadMessage, asyncio.IncompleteReadError, OSError):
        # The client went away in the middle of its request: the server has to learn of it.
        up_writer.transport.abort()
        raise


async def read_answer_head(reader):
    while True:
        head = await read_head(reader)
        parts = head.start.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise BadMessage(f"not an answer: {head.start[:80]!r}")
        # 100 Continue and its like were dealt with already.
        if int(parts[1]) >= 200:
            return head


async def cut(writer, head, pieces, length):
    """Sends a part of the answer, so that the client sees it begin, and resets the connection."""
    received = bytearray()
    async for piece in pieces:
        received += piece
    if length == 0 or not received:
        await send(writer, head[: len(head) // 2])
    else:
        await send(writer, head + bytes(received[: len(received) // 2]))
    # A reset overtakes what was sent: without a pause the client sees only that.
    await asyncio.sleep(0.05)
    reset(writer)


def loopback(text):
    host, colon, port = text.rpartition(":")
    if not colon or host not in ("127.0.0.1", "localhost") or not port.isdigit():
        raise argparse.ArgumentTypeError("127.0.0.1:PORT")
    return "127.0.0.1", int(port)


async def run(arguments):
    proxy = Proxy(arguments.upstream, arguments.seed)
    server = await asyncio.start_server(proxy.serve, *arguments.listen, limit=HEAD_BYTES_MAX)
    control = await asyncio.start_server(proxy.control, *arguments.control, limit=HEAD_BYTES_MAX)
    for name, listener in (("proxy", server), ("control", control)):
        host, port = listener.sockets[0].getsockname()
        print(f"{name} http://{host}:{port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    control.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="The faults are described at the top of this file."
    )
    parser.add_argument("--upstream", type=loopback, required=True, metavar="127.0.0.1:PORT")
    parser.add_argument("--listen", type=loopback, default=("127.0.0.1", 0), metavar="127.0.0.1:PORT")
    parser.add_argument("--control", type=loopback, default=("127.0.0.1", 0), metavar="127.0.0.1:PORT")
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
