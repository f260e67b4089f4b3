"""A driftline server of a check's own on loopback, what it takes of the machine, and claims about it.

Imported by soak.py, check-overload.py and check-clients.py, never run. Needs Linux, for /proc, and nothing but Python 3.9.
The binary is $DRIFTLINE, else the newer of the built release and debug ones.
"""

import http.client
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 300
STOP_SECONDS_MAX = 300
ANSWER_SECONDS_MAX = 120
MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1
WATCH_PAUSE_SECONDS = 0.02


class Claims:
    """What is claimed, one line each, and whether all of it holds."""

    def __init__(self):
        self.made = []

    def check(self, name, holds, said):
        self.made.append({"name": name, "ok": bool(holds), "said": said})
        print(f"{'pass' if holds else 'FAIL'}  {name}: {said}", flush=True)
        return bool(holds)

    def note(self, name, said):
        """Something that this run cannot judge."""
        self.made.append({"name": name, "ok": None, "said": said})
        print(f"note  {name}: {said}", flush=True)

    def finish(self):
        """The last line, and the exit code."""
        judged = [claim for claim in self.made if claim["ok"] is not None]
        failed = [claim for claim in judged if not claim["ok"]]
        if failed or not judged:
            print(f"{len(failed)} of {len(judged)} checks failed")
            return 1
        print(f"all {len(judged)} checks passed")
        return 0


class Broken(Exception):
    """The connection ended before the answer did, or the answer did not come in time."""


class Answer:
    """An HTTP answer."""

    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    def json(self):
        return json.loads(self.body)

    def retry_after(self):
        """Seconds that a refused sender is asked to wait; None where it is not said."""
        said = self.headers.get("Retry-After")
        return int(said) if said is not None and said.isdigit() else None

    def error(self):
        """`code: message` of an error of the documented shape, else None."""
        try:
            error = self.json()["error"]
            return f"{error['code']}: {error['message']}"
        except (ValueError, KeyError, TypeError):
            return None


class Connection:
    """One kept-alive connection; not for several threads. An answer that comes before the whole request
    was taken is still read."""

    def __init__(self, address, timeout=ANSWER_SECONDS_MAX, tls=None):
        """`tls` is the context of one that speaks it."""
        self.address, self.timeout, self.tls, self.http = address, timeout, tls, None

    def ask(self, method, target, body=None, headers=None, take=None):
        """`take(response)` reads the body in the caller's own way; without it the answer holds the body."""
        started = time.monotonic()
        # A kept connection may have been closed by the server meanwhile; a new one has no such excuse.
        for fresh in (self.http is None, True):
            if self.http is None:
                self.http = self.fresh()
            try:
                response = self.exchange(method, target, body, headers or {})
                taken = take(response) if take else response.read()
                answer = Answer(response.status, response.headers, taken, time.monotonic() - started)
                if response.will_close:
                    self.close()
                return answer
            except http.client.RemoteDisconnected as error:
                self.close()
                if fresh:
                    raise Broken(repr(error)) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise Broken(repr(error)) from error
        raise AssertionError("the second try answers or raises")

    def fresh(self):
        if self.tls is None:
            return http.client.HTTPConnection(*self.address, timeout=self.timeout)
        # The certificate is of a name, and not of an address.
        return http.client.HTTPSConnection("localhost", self.address[1], timeout=self.timeout, context=self.tls)

    def exchange(self, method, target, body, headers):
        try:
            self.http.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError) as error:
            # The server may have said why before it closed.
            response = http.client.HTTPResponse(self.http.sock, method=method)
            try:
                response.begin()
            except (OSError, http.client.HTTPException):
                raise error from None
            return response
        return self.http.getresponse()

    def close(self):
        if self.http is not None:
            self.http.close()
            self.http = None


class Process:
    """What /proc says of a process."""

    def __init__(self, pid):
        self.pid, self.proc = pid, pathlib.Path("/proc", str(pid))

    def status(self):
        """Bytes and counts of /proc/PID/status by name; empty once the process has ended."""
        try:
            lines = (self.proc / "status").read_text().splitlines()
        except OSError:
            return {}
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        kib = {name: int(text.split()[0]) * 1024 for name, text in fields.items() if text.strip().endswith(" kB")}
        return {**kib, "Threads": int(fields.get("Threads", "0"))}

    def resident(self):
        """Resident bytes now, cheap enough to ask often; 0 once the process has ended."""
        try:
            return int((self.proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def open_files(self):
        try:
            return len(os.listdir(self.proc / "fd"))
        except OSError:
            return 0

    def cpu_seconds(self):
        try:
            fields = (self.proc / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / TICKS

    def forget_peak(self):
        """From now on VmHWM is the peak since now."""
        try:
            (self.proc / "clear_refs").write_text("5")
        except OSError:
            return False
        return True


class Server:
    """A server that is ready when this returns."""

    def __init__(self, data, work, settings=""):
        self.data, self.settings = pathlib.Path(data), settings
        self.log = pathlib.Path(work, f"server-{time.time_ns()}.log")
        command = [binary(), "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        if settings:
            config = pathlib.Path(work, "driftline.toml")
            config.write_text(settings)
            command += ["--config", str(config)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        # If the machine runs out of memory, this process is the one to go.
        try:
            pathlib.Path(f"/proc/{self.child.pid}/oom_score_adj").write_text("1000")
        except OSError:
            pass
        self.process = Process(self.child.pid)
        self.address = None
        # The context of a server with a certificate.
        self.tls = None

    def wait_ready(self, guard=lambda: None):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            guard()
            if self.child.poll() is not None:
                raise SystemExit(f"the server ended before it was ready:\n{self.last_lines()}")
            if self.address is None:
                said = re.search(r"listening on http://([^\s/:]+):(\d+)", self.log.read_text(errors="replace"))
                self.address = (said[1], int(said[2])) if said else None
            elif self.is_ready():
                return self
            time.sleep(0.05)
        raise SystemExit(f"the server did not become ready:\n{self.last_lines()}")

    def is_ready(self):
        try:
            return self.ask("GET", "/readyz").status == 200
        except Broken:
            return False

    def ask(self, method, target, body=None, headers=None, timeout=ANSWER_SECONDS_MAX):
        connection = Connection(self.address, timeout, self.tls)
        try:
            return connection.ask(method, target, body, headers)
        finally:
            connection.close()

    def rows(self, statement, timeout=ANSWER_SECONDS_MAX):
        """The rows of a statement that must not fail."""
        answer = self.ask("GET", "/api/v1/sql?" + urllib.parse.urlencode({"q": statement}), timeout=timeout)
        if answer.status != 200:
            raise Broken(f"{answer.status} {answer.error()} for {statement}")
        return answer.json()

    def status(self):
        answer = self.ask("GET", "/api/v1/status")
        if answer.status != 200:
            raise Broken(f"{answer.status} for the status")
        return answer.json()

    def runs(self):
        return self.child.poll() is None

    def stop(self):
        """Stops the server as an operator would; the exit code, None if it had to be killed."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def last_lines(self, count=20):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except OSError:
            return ""

    def complaints(self):
        """Lines that the server logged as errors or panics."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        return [line for line in text.splitlines() if re.search(r"\bERROR\b|panicked", line)]


def run_threads(calls):
    threads = [threading.Thread(target=function, args=arguments, daemon=True) for function, arguments in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def watch(pid, kill_bytes, killed, peak):
    """Ends the server before it ends the machine."""
    process = Process(pid)
    while True:
        resident = process.resident()
        if resident == 0:
            return
        peak.value = max(peak.value, resident)
        if resident > kill_bytes:
            killed.value = True
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(WATCH_PAUSE_SECONDS)


def binary():
    named = os.environ.get("DRIFTLINE")
    if named:
        return named
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/driftline", target / "debug/driftline") if path.exists()]
    if not built:
        sys.exit("no driftline binary: build it, or name one in DRIFTLINE")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def version():
    return subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def generate(path, seed, start, days, rate):
    """Records of the product's own generator, as lines."""
    subprocess.run(
        [binary(), "generate", "--seed", str(seed), "--start", start, "--days", str(days), "--rate", str(rate),
         "-o", str(path)],
        check=True,
    )
    return pathlib.Path(path).read_bytes().splitlines(keepends=True)


def quantile(values, share):
    """The value at that share of the sorted values, by the nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def slope(times, values):
    """Least squares: the slope and its standard error. The error allows for neighbours that are alike:
    the number of samples is cut to as many as would be independent (lag-1 autocorrelation)."""
    count = len(values)
    mean_time, mean_value = sum(times) / count, sum(values) / count
    spread = sum((time - mean_time) ** 2 for time in times)
    products = sum((time - mean_time) * (value - mean_value) for time, value in zip(times, values))
    found = products / spread
    left = [value - mean_value - found * (time - mean_time) for time, value in zip(times, values)]
    variance = sum(residual**2 for residual in left)
    if variance == 0:
        return found, 0.0
    alike = min(0.99, max(0.0, sum(a * b for a, b in zip(left, left[1:])) / variance))
    independent = max(3.0, count * (1 - alike) / (1 + alike))
    return found, math.sqrt(variance / max(1, count - 2) / spread * count / independent)


def tree(path):
    """Files below a directory and their bytes; files that go meanwhile are passed over."""
    count = size = 0
    for entry in files_below(path):
        try:
            size += entry.stat(follow_symlinks=False).st_size
            count += 1
        except OSError:
            pass
    return count, size


def files_below(path):
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path)
        else:
            yield entry


def machine():
    """The machine in one line."""
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{CORES} cores ({model[1].strip() if model else 'unknown'}), {int(memory[1]) / MIB:.1f} GiB of memory"


def markdown(rows, columns=("figure", "value")):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def mib(count):
    return f"{count / MIB:,.0f} MiB"

