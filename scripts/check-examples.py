#!/usr/bin/env python3
"""Do the examples of the documentation run, and answer in the form that stands below them?

usage: scripts/check-examples.py [FILE…]

Takes README.md and docs/*.md, or the files named. Runs the commands of their fenced blocks that ask a server (`curl`, and
`driftline` with generate, load, query and report) one after the other against a real server of generated data: it plays
the days around the one on which the examples were written, moved to now. What stands below a command is compared with
what came, by form: the keys of JSON and the kinds of their values, columns of CSV and of tables, everything else word by
word with numbers for numbers. `…` stands for anything. A `.sql` file that is shown after its name is written there.

Blocks of Python run where their packages are installed; those that lack are said. Other commands are counted and not run.
Needs curl.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from served import ROOT, Claims, Server, binary

WRITTEN = datetime.date(2026, 11, 23)
SERVER = "http://127.0.0.1:7717"
RUN = re.compile(r"(curl|gzip|driftline (generate|load|query|report|anomalies|drift|experiment|forecast|slo))( |$)")
# What these print goes by history and settings that the server here has not: they run, and what they say is not compared.
BY_HISTORY = re.compile(r"driftline (anomalies|drift|experiment|forecast|slo)\b")
# What they say of too little history, or of settings that are not there.
TOO_LITTLE = re.compile(r"insufficient|too short|too few|no experiment|no objective")
# What `driftline drift` ends with where something drifts.
DRIFTS = 3
COMMAND_SECONDS_MAX = 120
DAYS = 4
RATE = 12_000
# A command that means a row, an id or a choice of the reader's.
LEFT_OPEN = re.compile(r"'select …'|\[--|=…|NAME")


def blocks(text):
    """Fenced blocks: line, language, lines."""
    line, language, inside = 0, None, []
    for number, content in enumerate(text.splitlines(), 1):
        if not content.startswith("```"):
            if language is not None:
                inside.append(content)
        elif language is None:
            line, language, inside = number + 1, content[3:].strip(), []
        else:
            yield line, language, inside
            language = None


def is_whole(command):
    """A command goes on where a line ends in a backslash, or within quotes."""
    if command.endswith("\\"):
        return False
    quote, escaped = None, False
    for letter in command:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = None if letter == quote else quote
        elif letter in "'\"":
            quote = letter
    return quote is None


def commands(lines):
    """Commands of a block with what is printed below each: those with a prompt, or a block of nothing but commands."""
    prompted = any(line.startswith("$ ") for line in lines)
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        if not (line.startswith("$ ") if prompted else RUN.match(line)):
            at += 1
            continue
        command = line[2:] if prompted else line
        while not is_whole(command) and at + 1 < len(lines):
            at += 1
            command += "\n" + lines[at]
        at += 1
        printed = []
        while prompted and at < len(lines) and not lines[at].startswith("$ "):
            printed.append(lines[at])
            at += 1
        yield first, command, printed


def moved(text, days):
    """Dates of a text, so many days later."""
    def later(found):
        return (datetime.date.fromisoformat(found[0]) + datetime.timedelta(days=days)).isoformat()

    return re.sub(r"\b2026-11-\d\d\b", later, text)


def kind(value):
    names = {dict: "object", list: "array", str: "text", bool: "flag", type(None): "null"}
    return names.get(type(value), "number")


def differences(expected, found, at="$"):
    """How a JSON value's form differs. A null may stand where a value stood, and the other way round."""
    if expected is None or found is None:
        return
    if kind(expected) != kind(found):
        yield f"{at} is {kind(found)}, not {kind(expected)}"
    elif isinstance(expected, dict):
        if set(expected) != set(found):
            yield f"{at} has {', '.join(sorted(found))}, not {', '.join(sorted(expected))}"
        for name in set(expected) & set(found):
            yield from differences(expected[name], found[name], f"{at}.{name}")
    elif isinstance(expected, list) and expected:
        for index, value in enumerate(found):
            first = [list(differences(one, value, f"{at}[{index}]")) for one in expected]
            if all(first):
                yield from first[0]


def keys(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def parsed(text):
    """JSON, or JSON lines; None where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()] or None
    except ValueError:
        return None


def in_words(line):
    """A line as a pattern: numbers for numbers, anything for `…`, days of the week for each other."""
    pattern = ""
    for part in re.split(r"(\d[\d,]*(?:\.\d+)?|…|\b[A-Z][a-z]+day\b)", re.sub(r"\s+", " ", line.strip())):
        if part[:1].isdigit():
            pattern += r"\d[\d,]*(\.\d+)?"
        elif part == "…":
            pattern += ".*"
        elif part.endswith("day") and part[:1].isupper():
            pattern += "[A-Z][a-z]+day"
        else:
            pattern += re.escape(part)
    return re.compile(pattern)


def compared(expected, found):
    """What is other than it should be: an empty list where nothing is."""
    text, came = "\n".join(expected).strip(), found.strip()
    if text.startswith(("{", "[")):
        value = parsed(came)
        if value is None:
            return [f"no JSON came: {came[:200]}"]
        wanted = parsed(text)
        if wanted is not None:
            return list(differences(wanted, value))
        # Something is left out of it: what is there has to come.
        names = set(re.findall(r'"([A-Za-z_][\w.]*)"\s*:', text))
        return [f"{name} did not come" for name in sorted(names - set(keys(value)))]
    if text.startswith("+-"):
        wanted, came_head = text.splitlines()[1], came.splitlines()[1:2]
        columns = [cell.strip() for cell in wanted.split("|")]
        heads = [cell.strip() for cell in came_head[0].split("|")] if came_head else []
        return [] if columns == heads else [f"columns {heads}, not {columns}"]
    if re.fullmatch(r"[a-z_]+(,[a-z_]+)+", text.splitlines()[0]):
        rows = list(csv.reader(came.splitlines()))
        wanted = text.splitlines()[0].split(",")
        wrong = [row for row in rows if len(row) != len(wanted)]
        return [f"columns {rows[:1]}, not {wanted}"] if rows[:1] != [wanted] or wrong else []
    lines = [re.sub(r"\s+", " ", line.strip()) for line in came.splitlines()]
    return [
        f"{line.strip()!r} did not come, but {came[:300]!r}"
        for line in expected[:1]
        if not any(in_words(line).fullmatch(other) for other in lines)
    ]


class Examples:
    """A directory in which the examples of a file run, and a server of their own for them."""

    def __init__(self, work, claims, sql, written):
        self.claims, self.directory = claims, pathlib.Path(work, "examples")
        self.directory.mkdir()
        self.days = (datetime.datetime.now(datetime.timezone.utc).date() - WRITTEN).days
        self.others = 0
        for name, text in [*sql, *written]:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(moved(text, self.days))
        (self.directory / "sql").mkdir(exist_ok=True)
        settings = f'[query]\nsql_directory = "{self.directory / "sql"}"\n[buffer]\nflush_interval_ms = 1000\n'
        self.server = Server(self.directory / "driftline-data", work, settings).wait_ready()
        self.url = "http://{}:{}".format(*self.server.address)
        self.path = self.program(pathlib.Path(work, "bin"))
        start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=DAYS)
        for command in (
            f"driftline generate --seed 5 --days {DAYS} --rate {RATE} --start {start:%Y-%m-%dT%H:%M:%SZ} -o all.ndjson",
            "driftline load all.ndjson",
        ):
            code, _, error = self.run(command)
            if code != 0:
                raise SystemExit(f"{command}: {error}")

    def program(self, directory):
        """`driftline` as readers have it, with a server where it always is; the search path."""
        directory.mkdir()
        program = directory / "driftline"
        program.write_text(
            "#!/bin/sh\n"
            'case "$1" in\n'
            f'load|query|report|anomalies|drift|experiment|forecast|slo) exec "{binary()}" "$@" --url {self.url} ;;\n'
            f'*) exec "{binary()}" "$@" ;;\n'
            "esac\n"
        )
        program.chmod(0o755)
        return f"{directory}:{os.environ['PATH']}"

    def run(self, command):
        command = moved(command, self.days).replace(SERVER, self.url)
        command = re.sub(r"\bcurl ", "curl -sS ", command)
        environment = {**os.environ, "PATH": self.path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=self.directory, env=environment, capture_output=True,
            text=True, timeout=COMMAND_SECONDS_MAX, stdin=subprocess.DEVNULL,
        )
        return ran.returncode, ran.stdout, ran.stderr

    def example(self, place, command, expected):
        is_elsewhere = command.startswith("driftline ") and " --data " in command
        if not RUN.match(command) or LEFT_OPEN.search(command) or is_elsewhere:
            self.others += 1
            return
        code, out, error = self.run(command)
        name = f"{place} {' '.join(command.split())[:90]}"
        if BY_HISTORY.match(command):
            said = (error + out).strip()
            is_answer = code == 0 or (code == DRIFTS and command.startswith("driftline drift")) or TOO_LITTLE.search(said) is not None
            self.claims.check(name, is_answer and "usage:" not in said.lower(), f"ended with {code}, {said[:100]!r}")
            return
        is_refused = out.startswith('{"error"') and not any("error" in line for line in expected)
        if code != 0 or is_refused:
            self.claims.check(name, False, f"ended with {code}: {(error + out).strip()[:300]}")
            return
        wrong = compared(expected, out + error) if any(line.strip() for line in expected) else []
        self.claims.check(name, not wrong, "; ".join(wrong[:3]) or f"{len(out)} bytes, as shown")

    def python(self, place, lines):
        for package in re.findall(r"^(?:import|from) (\w+)", "\n".join(lines), re.M):
            if subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode != 0:
                self.claims.note(place, f"not run: {package} is not installed for {sys.executable}")
                return
        # It reads what is committed.
        deadline = time.monotonic() + COMMAND_SECONDS_MAX
        while self.server.status()["books"]["buffered"] > 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        ran = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)], cwd=self.directory, capture_output=True, text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        self.claims.check(place, ran.returncode == 0, (ran.stderr or ran.stdout).strip()[-300:])


def sql_files(found):
    """Files of SQL that are shown after a block that is only their name."""
    name = None
    for _, language, lines in found:
        if language == "sql" and name:
            yield name, "\n".join(lines) + "\n"
        name = lines[0] if len(lines) == 1 and re.fullmatch(r"sql/\w+/\w+\.sql", lines[0]) else None


def shown_files(found):
    """Files that are shown by `cat`."""
    for _, _, lines in found:
        for _, command, printed in commands(lines):
            if command.startswith("cat ") and printed:
                yield command.split()[1], "\n".join(line for line in printed if line) + "\n"


def check_file(path, claims, written):
    """The examples of one file; how many of its commands were not run."""
    found = list(blocks(path.read_text()))
    runs = [one for _, _, lines in found for one in commands(lines) if RUN.match(one[1])]
    if not runs:
        return 0
    with tempfile.TemporaryDirectory() as work:
        examples = Examples(work, claims, sql_files(found), written)
        try:
            for line, language, lines in found:
                if language == "python":
                    examples.python(f"{path.name}:{line}", lines)
                for offset, command, expected in commands(lines) if language != "python" else ():
                    examples.example(f"{path.name}:{line + offset}", command, expected)
            complaints = examples.server.complaints()
            claims.check(f"{path.name}: the server", not complaints, "; ".join(complaints[:3]) or "it complains of nothing")
        finally:
            examples.server.kill()
        return examples.others


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="*", type=pathlib.Path)
    options = arguments.parse_args()
    if shutil.which("curl") is None:
        print("skipped: curl is not installed")
        return 0
    readme = ROOT / "README.md"
    # What the README shows is what the others send.
    written = list(shown_files(blocks(readme.read_text())))
    claims = Claims()
    files = [path.resolve() for path in options.files] or [readme, *sorted((ROOT / "docs").glob("*.md"))]
    others = sum(check_file(path, claims, written) for path in files)
    print(f"{others} other commands were not run")
    return claims.finish()


if __name__ == "__main__":
    sys.exit(main())
