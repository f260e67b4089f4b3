#!/usr/bin/env python3
"""An S3 server on loopback with one empty bucket, for checks.

usage: s3_server.py [--kind auto|ceph|moto] [--port 0] [--bucket driftline] [--data DIR] [--prove] [--install-only]

Prints `kind …` and `endpoint http://127.0.0.1:PORT` once the bucket can be written to, and runs until SIGTERM
or SIGINT; then it ends what it started. What it stores goes to DIR, else to a temporary directory that is
removed at the end. The credentials are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else `driftline`
and `driftline-secret`; the region is us-east-1.

Exit codes: 0 after a signal, or where only an installation was asked for; 77 where the server cannot be had
on this machine; 1 where it does not work.

Kinds:

  ceph  Ceph's RADOS gateway, with one monitor and one OSD that keeps its objects in a file. A store that is used
        in earnest: it checks signatures, and conditional puts are atomic. From the packages of Debian or
        Ubuntu, which apt-get downloads (69 MB in Debian 12); they are unpacked below ~/.cache/driftline, not
        installed, and no root is needed.
  moto  The PyPI package moto[server], in an environment below ~/.cache/driftline. An imitation, for machines
        without those packages: it looks at no signature, and its conditional put is two steps, which
        are made one here by a lock. Without the lock two of two racing puts can win.
  auto  ceph, else moto.

`--prove` exercises what a Delta table on object storage needs before anything is printed: conditional puts that
race, multipart upload, ranges, listing in pages, deletion of many objects, copies.
"""

import argparse
import base64
import collections
import concurrent.futures
import contextlib
import ctypes
import datetime
import glob
import hashlib
import hmac
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
import xml.etree.ElementTree

CANNOT_BE_HAD = 77
REGION = "us-east-1"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "driftline" / "s3"
CEPH_PACKAGES = ["radosgw", "ceph-mon", "ceph-osd"]
CEPH_BYTES_MAX = 10 << 30
MOTO = "moto[s3,server]>=5.1,<6"
INSTALL_SECONDS_MAX = 600
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 20

MOTO_LAUNCHER = """
import sys, threading
from moto.s3.responses import S3Response
from moto.server import main

lock = threading.RLock()

def one_at_a_time(handler):
    def locked(*arguments, **more):
        with lock:
            return handler(*arguments, **more)
    return locked

for name in ("put_object", "copy_object", "complete_multipart_upload"):
    if hasattr(S3Response, name):
        setattr(S3Response, name, one_at_a_time(getattr(S3Response, name)))
main(sys.argv[1:])
"""


class CannotBeHad(Exception):
    """The server cannot be installed here."""


class Broken(Exception):
    """The server is installed and does not do what it should."""


def run(command, log, **more):
    """Runs a command to its end; its output goes to the log."""
    with open(log, "ab") as out:
        result = subprocess.run(command, stdout=out, stderr=out, timeout=INSTALL_SECONDS_MAX, check=False, **more)
    if result.returncode != 0:
        raise Broken(f"{' '.join(map(str, command[:4]))} … failed: {last_line(log)}")


def last_line(log):
    lines = [line for line in pathlib.Path(log).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def end_with_parent():
    """Linux ends this process when the one that started it is gone, however it went."""
    with contextlib.suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Processes:
    """What was started, in order; ended in the opposite order."""

    def __init__(self):
        self.started = []

    def start(self, name, command, log, env):
        with open(log, "ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, preexec_fn=end_with_parent
            )
        self.started.append((name, process, log))

    def check(self):
        for name, process, log in self.started:
            if process.poll() is not None:
                raise Broken(f"{name} ended by itself: {last_line(log)}")

    def stop(self):
        for _, process, _ in reversed(self.started):
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.started = []


class Ceph:
    """One monitor, one OSD, one gateway, all under one directory."""

    def __init__(self):
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise CannotBeHad("no apt-get and dpkg")
        files = self.listed()
        # What else has to be unpacked depends on what the system has: an older directory may do or not.
        own = [file for file in files if file.split("_")[0] in CEPH_PACKAGES]
        root = CACHE / f"ceph-{hashlib.sha256(' '.join(own).encode()).hexdigest()[:16]}"
        self.use(root if files else None)
        if files and not self.runs():
            self.unpack(files, root)
            self.use(root)
        if not self.runs():
            raise CannotBeHad("Ceph's programs do not run")

    def use(self, root):
        """Takes the programs from this directory, or from the system."""
        self.env = dict(os.environ)
        self.libraries = None
        if root:
            libraries = glob.glob(f"{root}/usr/lib/*-linux-gnu") + glob.glob(f"{root}/lib/*-linux-gnu")
            libraries += [f"{path}/ceph" for path in libraries if os.path.isdir(f"{path}/ceph")]
            self.libraries = next((path for path in libraries if os.path.isdir(f"{path}/rados-classes")), None)
            self.env["LD_LIBRARY_PATH"] = ":".join(libraries)
            self.env["PATH"] = f"{root}/usr/bin:{self.env['PATH']}"

    def runs(self):
        for program in ("ceph-mon", "ceph-osd", "radosgw-admin", "radosgw"):
            try:
                answer = subprocess.run(
                    [program, "--version"], env=self.env, capture_output=True, text=True, timeout=60, check=True
                )
            except (OSError, subprocess.SubprocessError):
                return False
        self.version = " ".join(answer.stdout.split()[:3])
        return True

    @staticmethod
    def listed():
        """The package files that this system lacks; none where it has Ceph itself."""
        command = ["apt-get", "install", "--print-uris", "--yes", "--no-install-recommends", *CEPH_PACKAGES]
        env = {**os.environ, "LC_ALL": "C"}
        answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode != 0:
            raise CannotBeHad(f"apt-get does not know {' '.join(CEPH_PACKAGES)}")
        return sorted(re.findall(r"^'[^']*' (\S+\.deb) ", answer.stdout, re.MULTILINE))

    @staticmethod
    def unpack(files, directory):
        print(f"downloading {len(files)} packages of Ceph", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            debs, root, log = pathlib.Path(work, "debs"), pathlib.Path(work, "root"), pathlib.Path(work, "log")
            debs.mkdir()
            try:
                run(["apt-get", "download", *(file.split("_")[0] for file in files)], log, cwd=debs)
                for deb in sorted(debs.glob("*.deb")):
                    run(["dpkg", "-x", deb, root], log)
            except (Broken, OSError, subprocess.SubprocessError) as error:
                raise CannotBeHad(f"Ceph's packages cannot be downloaded: {error}") from error
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Another one may have been faster.
                root.rename(directory)

    def configure(self, data, port, store, cluster):
        unpacked = ""
        if self.libraries:
            unpacked = f"""
erasure code dir = {self.libraries}/ceph/erasure-code
osd class dir = {self.libraries}/rados-classes
plugin dir = {self.libraries}/ceph"""
        monitor = f"[v1:127.0.0.1:{free_port()}]"
        (data / "ceph.conf").write_text(f"""[global]
fsid = {cluster}
mon host = {monitor}
ms bind msgr2 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 1
mon data avail crit = 0
osd objectstore = {store}
osd memory target = 939524096
osd crush update on start = false
osd class update on start = false
bluestore block size = {CEPH_BYTES_MAX}
bluestore block db size = 0
bluestore block wal size = 0
memstore device bytes = {CEPH_BYTES_MAX}
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 64
mon data = {data}/mon
osd data = {data}/osd
rgw data = {data}/rgw
run dir = {data}
crash dir = {data}
admin socket =
pid file =
log file = {data}/$name.log
mon cluster log file = {data}/cluster.log{unpacked}
""")
        return monitor

    def start(self, processes, data, port, key, secret):
        env = {**self.env, "CEPH_CONF": str(data / "ceph.conf")}
        log = data / "setup.log"
        # On a file system without direct I/O the OSD keeps its objects in memory instead.
        for store in ("bluestore", "memstore"):
            for name in ("mon", "osd", "rgw"):
                shutil.rmtree(data / name, ignore_errors=True)
                (data / name).mkdir(parents=True)
            cluster = str(uuid.uuid4())
            monitor = self.configure(data, port, store, cluster)
            try:
                run(["ceph-osd", "-i", "0", "--mkfs", "--fsid", cluster, "--no-mon-config"], log, env=env)
                break
            except Broken:
                if store == "memstore":
                    raise
        monitors, devices = str(data / "monitors"), str(data / "devices")
        run(["monmaptool", "--create", "--clobber", "--addv", "a", monitor, "--fsid", cluster, monitors], log, env=env)
        run(["osdmaptool", "--createsimple", "1", "--clobber", devices], log, env=env)
        run(["ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors, "--osdmap", devices], log, env=env)
        processes.start("ceph-mon", ["ceph-mon", "-i", "a", "-f"], data / "mon.out", env)
        processes.start("ceph-osd", ["ceph-osd", "-i", "0", "-f"], data / "osd.out", env)
        user = ["radosgw-admin", "user", "create", "--uid", "driftline", "--display-name", "driftline"]
        run([*user, "--access-key", key, "--secret-key", secret], log, env=env)
        processes.start("radosgw", ["radosgw", "-n", "client.rgw", "-f"], data / "rgw.out", env)
        self.version += f", {store}"


class Moto:
    """moto's server."""

    def __init__(self):
        self.python = CACHE / f"moto-{hashlib.sha256(MOTO.encode()).hexdigest()[:16]}" / "bin" / "python"
        version = self.installed()
        if version is None:
            print(f"installing {MOTO}", file=sys.stderr)
            self.install()
            version = self.installed()
        if version is None:
            raise CannotBeHad("moto does not run")
        self.version = f"moto {version}"

    def installed(self):
        """The version; None also where an installation was broken off."""
        if not self.python.exists():
            return None
        question = "import importlib.metadata as m, moto.server; print(m.version('moto'))"
        answer = subprocess.run([self.python, "-c", question], capture_output=True, text=True, timeout=60, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    def install(self):
        environment = self.python.parent.parent
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(environment, ignore_errors=True)
        with tempfile.NamedTemporaryFile() as log:
            try:
                run([sys.executable, "-m", "venv", environment], log.name)
                pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                run([*pip, "--only-binary", ":all:", MOTO], log.name)
            except (Broken, OSError, subprocess.SubprocessError) as error:
                shutil.rmtree(environment, ignore_errors=True)
                raise CannotBeHad(f"moto cannot be installed: {error}") from error

    def start(self, processes, data, port, key, secret):
        # Objects of more than 64 KiB are files, so that memory stays small; each is an open one.
        env = {**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "65536", "TMPDIR": str(data)}
        command = ["/bin/sh", "-c", 'ulimit -n "$(ulimit -H -n)"; exec "$0" "$@"', self.python, "-c", MOTO_LAUNCHER]
        processes.start("moto", [*command, "-H", "127.0.0.1", "-p", str(port)], data / "moto.out", env)


class Client:
    """Signed requests to one endpoint, a connection for each thread."""

    def __init__(self, port, key, secret):
        self.port, self.key, self.secret = port, key, secret
        self.local = threading.local()

    def ask(self, method, path, body=b"", query=(), headers=()):
        """Status, fields and body of the answer."""
        host = f"127.0.0.1:{self.port}"
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        fields = {"host": host, "x-amz-date": now, "x-amz-content-sha256": digest}
        fields.update((name.lower(), value) for name, value in dict(headers).items())
        escape = urllib.parse.quote
        path = escape(path, safe="/-_.~")
        query = "&".join(f"{escape(name, safe='-_.~')}={escape(value, safe='-_.~')}" for name, value in sorted(query))
        names = ";".join(sorted(fields))
        canonical = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields))
        request = "\n".join([method, path, query, canonical, names, digest])
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        fields["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"{path}?{query}" if query else path, body, fields)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise


def create_bucket(client, bucket, processes):
    deadline = time.monotonic() + START_SECONDS_MAX
    outcome = "nothing"
    while time.monotonic() < deadline:
        processes.check()
        try:
            status, _, body = client.ask("PUT", f"/{bucket}")
            if status == 200:
                status, _, body = client.ask("PUT", f"/{bucket}/probe", b"x")
            if status == 200:
                client.ask("DELETE", f"/{bucket}/probe")
                return
            outcome = f"{status} {body[:300]!r}"
        except (OSError, http.client.HTTPException) as error:
            outcome = repr(error)
        time.sleep(0.1)
    raise Broken(f"the server was not ready in {START_SECONDS_MAX} s: {outcome}")


def texts(document, name):
    """The texts of all elements of a name, whatever their namespace."""
    elements = xml.etree.ElementTree.fromstring(document).iter()
    return [element.text for element in elements if element.tag.rpartition("}")[2] == name]


def prove(client, bucket):
    """Exercises the requests that a Delta table on object storage is made of; leaves nothing behind."""

    def ask(method, key, body=b"", query=(), headers=(), want=(200,)):
        status, fields, answer = client.ask(method, f"/{bucket}/{key}".rstrip("/"), body, query, headers)
        if status not in want:
            raise Broken(f"{method} {key} {dict(query)}: {status} {answer[:300]!r}")
        return status, fields, answer

    def equal(name, wanted, got):
        if wanted != got:
            raise Broken(f"{name}: {str(got)[:200]} instead of {str(wanted)[:200]}")
        print(f"proved: {name}", file=sys.stderr)

    ask("PUT", "proof/a=1/b c%+é", b"0123456789")
    equal("a key with escapes", b"0123456789", ask("GET", "proof/a=1/b c%+é")[2])
    for span, wanted in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=7-", b"789")):
        answer = ask("GET", "proof/a=1/b c%+é", headers={"Range": span}, want=(206,))[2]
        equal(f"range {span}", wanted, answer)
    ask("GET", "proof/absent", want=(404,))
    equal("length by HEAD", "10", ask("HEAD", "proof/a=1/b c%+é")[1]["Content-Length"])

    for size, rounds in ((500, 100), (2 << 20, 15)):
        winners = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for turn in range(rounds):
                key = f"proof/race/{size}/{turn}"
                bodies = [bytes([65 + number]) * size for number in range(4)]
                puts = pool.map(
                    lambda body, key=key: client.ask("PUT", f"/{bucket}/{key}", body, headers={"If-None-Match": "*"}),
                    bodies,
                )
                statuses = [status for status, _, _ in puts]
                winners[statuses.count(200)] += 1
                if sorted(statuses) != [200, 412, 412, 412] or ask("GET", key)[2] != bodies[statuses.index(200)]:
                    raise Broken(f"conditional puts of {size} bytes that race: {statuses}")
        equal(f"one of four racing conditional puts of {size} bytes wins", {1: rounds}, dict(winners))

    upload = texts(ask("POST", "proof/multipart", query=[("uploads", "")])[2], "UploadId")[0]
    parts = [bytes([number]) * (5 << 20) for number in (1, 2)]
    listed = ""
    for number, part in enumerate(parts, 1):
        query = [("partNumber", str(number)), ("uploadId", upload)]
        tag = ask("PUT", "proof/multipart", part, query)[1]["ETag"]
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    ask("POST", "proof/multipart", document, [("uploadId", upload)])
    equal("multipart upload", True, ask("GET", "proof/multipart")[2] == b"".join(parts))

    ask("PUT", "proof/copy", headers={"x-amz-copy-source": f"/{bucket}/proof/race/500/0"})
    equal("copy", ask("GET", "proof/race/500/0")[2], ask("GET", "proof/copy")[2])

    def keys(**query):
        found, more = [], []
        while True:
            page = ask("GET", "", query=[("list-type", "2"), *query.items(), *more])[2]
            found += texts(page, "Key")
            if texts(page, "IsTruncated") != ["true"]:
                return found
            more = [("continuation-token", texts(page, "NextContinuationToken")[0])]

    everything = keys(prefix="proof/")
    equal("listing in pages", sorted(everything), keys(prefix="proof/", **{"max-keys": "7"}))
    equal("listing from a key on", [key for key in everything if key > everything[50]],
          keys(prefix="proof/", **{"start-after": everything[50]}))
    document = "".join(f"<Object><Key>{key}</Key></Object>" for key in everything)
    document = f"<Delete><Quiet>true</Quiet>{document}</Delete>".encode()
    md5 = hashlib.md5(document).digest()
    ask("POST", "", document, [("delete", "")], {"Content-MD5": base64.b64encode(md5).decode()})
    equal("deletion of many", [], keys(prefix="proof/"))


def choose(kind):
    """The first kind that can be had."""
    reasons = []
    for name, server in (("ceph", Ceph), ("moto", Moto)):
        if kind in (name, "auto"):
            try:
                return server()
            except (CannotBeHad, OSError, subprocess.SubprocessError) as error:
                reasons.append(f"{name}: {error}")
                print(f"without {name}: {error}", file=sys.stderr)
    raise CannotBeHad("; ".join(reasons))


def serve(arguments):
    server = choose(arguments.kind)
    if arguments.install_only:
        print(f"kind {server.version}")
        return
    key = os.environ.get("AWS_ACCESS_KEY_ID") or "driftline"
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY") or "driftline-secret"
    port = arguments.port or free_port()
    processes = Processes()
    with contextlib.ExitStack() as stack:
        data = arguments.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="driftline-s3-"))
        data = pathlib.Path(data).resolve()
        data.mkdir(parents=True, exist_ok=True)
        stack.callback(processes.stop)
        server.start(processes, data, port, key, secret)
        client = Client(port, key, secret)
        create_bucket(client, arguments.bucket, processes)
        if arguments.prove:
            prove(client, arguments.bucket)
        print(f"kind {server.version}")
        print(f"endpoint http://127.0.0.1:{port}", flush=True)
        while True:
            time.sleep(0.5)
            processes.check()


def end(*_):
    # A second signal must not disturb the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="More is said at the top of this file."
    )
    parser.add_argument("--kind", choices=["auto", "ceph", "moto"], default="auto")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", default="driftline")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--install-only", action="store_true")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        serve(parser.parse_args())
    except CannotBeHad as error:
        print(f"skipped: no S3 server can be had: {error}", file=sys.stderr)
        sys.exit(CANNOT_BE_HAD)
    except (Broken, OSError, subprocess.SubprocessError) as error:
        print(f"fail  {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
