#!/usr/bin/env python3
"""Tests of fault_proxy.py, against a small server in this process: `python3 scripts/test_fault_proxy.py`."""

import contextlib
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

SCRIPT = pathlib.Path(__file__).with_name("fault_proxy.py")
SECONDS_MAX = 10


class Store(http.server.BaseHTTPRequestHandler):
    """Keeps what is PUT; `/chunked/…` is answered in chunks, `/close/…` until the connection ends."""

    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() != b"\r\n":
            pass
        return body

    def answer(self, status, body=b"", length=None):
        self.send_response(status)
        self.send_header("X-Host", self.headers["Host"])
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        objects = self.server.objects
        body = self.body()
        if len(body) < int(self.headers.get("Content-Length") or 0):
            self.close_connection = True
            return
        if self.headers.get("If-None-Match") == "*" and self.path in objects:
            return self.answer(412)
        objects[self.path] = body
        self.answer(200)

    def do_GET(self):
        body = self.server.objects.get(self.path)
        if body is None:
            return self.answer(404, b"none")
        if self.path.startswith("/chunked/"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 1000):
                piece = body[start:start + 1000]
                self.wfile.write(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nX-Trailer: yes\r\n\r\n")
        elif self.path.startswith("/close/"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        else:
            self.answer(200, body)

    def do_HEAD(self):
        body = self.server.objects.get(self.path)
        self.answer(404 if body is None else 200, length=len(body or b""))

    def do_DELETE(self):
        self.server.objects.pop(self.path, None)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A connection that breaks is what is tested here."""


class FaultProxy(unittest.TestCase):
    def setUp(self):
        self.store = Server(("127.0.0.1", 0), Store)
        self.store.objects = {"/a": b"hello", "/large": bytes(range(256)) * 4000}
        threading.Thread(target=self.store.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(self.store.server_close)
        self.addCleanup(self.store.shutdown)
        self.start()

    def start(self, seed=1):
        command = [sys.executable, str(SCRIPT), "--seed", str(seed)]
        command += ["--upstream", f"127.0.0.1:{self.store.server_address[1]}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, self.process)
        ports = dict(self.process.stdout.readline().split() for _ in range(2))
        self.port, self.control_port = (int(ports[name].rpartition(":")[2]) for name in ("proxy", "control"))

    def stop(self, process):
        process.terminate()
        _, errors = process.communicate(timeout=SECONDS_MAX)
        self.assertEqual(process.returncode, 0)
        self.assertNotIn("Traceback", errors)

    def control(self, method, path, document=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=SECONDS_MAX)) as to:
            to.request(method, path, None if document is None else json.dumps(document))
            answer = to.getresponse()
            return answer.status, json.loads(answer.read())

    def fault(self, **fields):
        status, answer = self.control("POST", "/faults", fields)
        self.assertEqual(status, 200, answer)

    def counts(self):
        return self.control("GET", "/counts")[1]

    def client(self, timeout=SECONDS_MAX):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        self.addCleanup(client.close)
        return client

    def ask(self, method, path, body=None, client=None, **more):
        """One request on a connection of its own, unless one is given: status and body."""
        client = client or self.client()
        client.request(method, path, body, **more)
        answer = client.getresponse()
        return answer.status, answer.read()

    def test_passes_everything_on(self):
        client = self.client()
        large = self.store.objects["/large"]
        self.assertEqual(self.ask("GET", "/a", client=client), (200, b"hello"))
        connection = client.sock
        self.assertEqual(self.ask("PUT", "/b", large, client), (200, b""))
        self.assertTrue(self.store.objects["/b"] == large)
        pieces = iter([large[:70000], b"x", large[70000:]])
        self.assertEqual(self.ask("PUT", "/c?d=e", pieces, client, encode_chunked=True,
                                  headers={"Transfer-Encoding": "chunked"}), (200, b""))
        self.assertTrue(self.store.objects["/c?d=e"] == large[:70000] + b"x" + large[70000:])
        self.assertTrue(self.ask("GET", "/large", client=client) == (200, large))
        self.assertEqual(self.ask("HEAD", "/large", client=client), (200, b""))
        self.store.objects["/chunked/d"] = large
        self.assertTrue(self.ask("GET", "/chunked/d", client=client) == (200, large))
        self.assertEqual(self.ask("DELETE", "/b", client=client), (204, b""))
        self.assertEqual(self.ask("GET", "/b", client=client), (404, b"none"))
        self.assertIs(client.sock, connection, "one connection served it all")
        self.store.objects["/close/e"] = large
        self.assertTrue(self.ask("GET", "/close/e", client=client) == (200, large))
        self.assertEqual(self.counts()["requests"], {"GET": 5, "PUT": 2, "HEAD": 1, "DELETE": 1})
        self.assertEqual(self.counts()["hits"], {})

    def test_the_host_stays_what_was_signed(self):
        client = self.client()
        client.request("GET", "/a", headers={"Host": "bucket.example:1"})
        self.assertEqual(client.getresponse().headers["X-Host"], "bucket.example:1")

    def test_a_client_that_waits_for_100_continue_gets_it(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS_MAX) as client:
            client.sendall(b"PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(client.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"abc")
            self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 200 "))
        self.assertEqual(self.store.objects["/e"], b"abc")

    def test_status(self):
        self.fault(mode="status", status=503)
        client = self.client()
        status, body = self.ask("PUT", "/b", b"x" * 100000, client)
        self.assertEqual(status, 503)
        self.assertIn(b"<Code>SlowDown</Code>", body)
        self.assertEqual(self.ask("HEAD", "/a", client=client), (503, b""))
        self.control("DELETE", "/faults")
        self.assertEqual(self.ask("GET", "/a", client=client), (200, b"hello"))
        self.assertNotIn("/b", list(self.store.objects))
        self.assertEqual(self.counts()["hits"], {"status": {"PUT": 1, "HEAD": 1}})
        self.assertEqual(self.counts()["forwarded"], {"GET": 1})
        self.assertEqual(self.counts()["answers"], {"200": 1, "503": 2})

    def test_refuse(self):
        self.fault(mode="refuse")
        with self.assertRaises((ConnectionError, http.client.RemoteDisconnected)):
            self.ask("PUT", "/b", b"x")
        self.assertNotIn("/b", list(self.store.objects))

    def test_hang_never_answers(self):
        self.fault(mode="hang", seconds=0.2)
        with self.assertRaises(TimeoutError):
            self.ask("PUT", "/b", b"x", self.client(timeout=0.6))
        self.assertNotIn("/b", list(self.store.objects))
        self.assertEqual(self.ask("GET", "/a"), (200, b"hello"), "the fault is over")

    def test_hang_that_releases_closes_when_it_ends(self):
        for ends_by in ("time", "deletion"):
            with self.subTest(ends_by):
                self.fault(mode="hang", release=True, **({"seconds": 0.3} if ends_by == "time" else {}))
                client = self.client()
                client.request("GET", "/a")
                if ends_by == "deletion":
                    while self.counts()["hanging"] == 0:
                        time.sleep(0.01)
                    self.control("DELETE", "/faults")
                started = time.monotonic()
                with self.assertRaises((ConnectionError, http.client.RemoteDisconnected)):
                    client.getresponse()
                self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(self.counts()["hanging"], 0)

    def test_cut(self):
        self.fault(mode="cut")
        self.store.objects["/chunked/d"] = self.store.objects["/large"]
        for path in ("/large", "/chunked/d"):
            client = self.client()
            client.request("GET", path)
            answer = client.getresponse()
            self.assertEqual(answer.status, 200)
            with self.assertRaises((ConnectionError, http.client.IncompleteRead)):
                answer.read()
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            self.ask("PUT", "/b", b"x")
        self.assertEqual(self.store.objects["/b"], b"x", "it was performed")

    def test_lost_answer(self):
        self.fault(mode="lost_answer", answer="status", methods=["PUT"])
        self.assertEqual(self.ask("PUT", "/b", b"x")[0], 500)
        self.assertEqual(self.store.objects["/b"], b"x")
        self.assertEqual(self.ask("GET", "/b"), (200, b"x"))
        self.control("DELETE", "/faults")
        # What a client sees that tries a conditional put again.
        self.assertEqual(self.ask("PUT", "/b", b"x", headers={"If-None-Match": "*"}), (412, b""))
        self.fault(mode="lost_answer", answer="close")
        with self.assertRaises((ConnectionError, http.client.RemoteDisconnected)):
            self.ask("PUT", "/c", b"y")
        self.assertEqual(self.store.objects["/c"], b"y")

    def test_slow(self):
        self.store.objects["/s"] = bytes(50_000)
        self.fault(mode="slow", bytes_per_second=100_000)
        started = time.monotonic()
        self.assertEqual(self.ask("GET", "/s"), (200, bytes(50_000)))
        self.assertGreater(time.monotonic() - started, 0.45)
        started = time.monotonic()
        self.assertEqual(self.ask("PUT", "/t", bytes(50_000)), (200, b""))
        self.assertGreater(time.monotonic() - started, 0.45)

    def test_share_times_methods_and_path(self):
        self.fault(mode="status", share=0.3)
        hits = [self.ask("GET", "/a")[0] for _ in range(200)].count(503)
        self.assertTrue(30 <= hits <= 90, hits)
        self.control("DELETE", "/faults")
        self.fault(mode="status", status=500, times=2, methods=["put"], path="^/log/")
        self.assertEqual([self.ask("GET", "/a")[0], self.ask("PUT", "/x/log/", b"")[0]], [200, 200])
        self.assertEqual([self.ask("PUT", "/log/1", b"")[0] for _ in range(3)], [500, 500, 200])
        self.assertEqual(self.control("GET", "/faults"), (200, []))

    def test_the_same_seed_hits_the_same_requests(self):
        def pattern(seed):
            self.start(seed)
            self.fault(mode="status", share=0.5)
            return [self.ask("GET", "/a")[0] for _ in range(40)]

        first = pattern(7)
        self.assertEqual(first, pattern(7))
        self.assertNotEqual(first, pattern(8))

    def test_a_wrong_fault_is_refused(self):
        for fields in ({}, {"mode": "burn"}, {"mode": "slow"}, {"mode": "hang", "share": 2}, {"mode": "hang", "x": 1},
                       {"mode": "status", "status": 200}, {"mode": "cut", "share": "1"}, {"mode": "cut", "path": "("}):
            status, answer = self.control("POST", "/faults", fields)
            self.assertEqual((status, list(answer)), (400, ["error"]), fields)
        self.assertEqual(self.control("GET", "/faults"), (200, []))
        self.assertEqual(self.control("GET", "/else")[0], 404)

    def test_a_server_that_is_away_is_a_502(self):
        self.store.shutdown()
        self.store.server_close()
        self.assertEqual(self.ask("PUT", "/b", b"x" * 100000)[0], 502)

    def test_a_client_that_goes_in_the_middle_leaves_nothing(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS_MAX) as client:
            client.sendall(b"PUT /half HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
            time.sleep(0.1)
        self.assertEqual(self.ask("GET", "/a"), (200, b"hello"))
        self.assertNotIn("/half", list(self.store.objects))

    def test_many_at_once(self):
        self.fault(mode="status", share=0.2)
        results = []

        def work(number):
            client = self.client()
            for round_ in range(20):
                path = f"/many/{number}/{round_}"
                while self.ask("PUT", path, path.encode() * 1000, client)[0] != 200:
                    pass
                results.append(path)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 160)
        for path in results:
            self.assertEqual(self.store.objects[path], path.encode() * 1000)


if __name__ == "__main__":
    unittest.main()
