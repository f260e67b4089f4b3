#!/usr/bin/env python3
"""Do clients of Postgres find what they look for? psql, psycopg and SQLAlchemy against a server of generated calls.

usage: scripts/check-postgres.py [--only psql,psycopg,sqlalchemy]

psql asks for tables and columns by its backslash commands, with and without keys, in the clear and in TLS. psycopg
sends parameters of all common types, as text and in binary, prepares, gives up a statement, and sees with a tenant's
key the tenant's rows only; what it finds is compared with what HTTP says. SQLAlchemy reflects the tables and asks them
by what it found. One line a claim; the exit code is 1 where one fails. psycopg and SQLAlchemy are installed below a
temporary directory unless this Python has them; a step whose tools cannot be had is skipped, and says so. The binary is
$DRIFTLINE, else the newer build.
"""

import argparse
import datetime
import decimal
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import venv

import served

PACKAGES = {"psycopg": "psycopg[binary]>=3.2,<4", "sqlalchemy": "sqlalchemy>=2,<3"}
INSTALL_SECONDS_MAX = 300
PSQL_SECONDS_MAX = 120
START = datetime.datetime(2026, 5, 14, 12, 0)
CALLS = 240
TENANTS = ("alpha", "beta")
ENDLESS = "select count(*) from generate_series(1, 1000000000000) where value % 3 = 5"
SETTINGS = '[postgres]\nlisten = "127.0.0.1:0"\n[query]\ntimeout_s = 600\n'
STEPS = ("psql", "psycopg", "sqlalchemy")


def calls():
    """Calls of two tenants by turns, a minute apart."""
    for number in range(CALLS):
        tenant = TENANTS[number % 2]
        yield json.dumps({
            "timestamp": (START + datetime.timedelta(minutes=number)).isoformat() + "Z", "tenant_id": tenant,
            "request_id": f"r{number}", "agent_id": f"agent-{tenant}", "model": "m", "operation": "chat",
            "prompt_tokens": number, "completion_tokens": 1, "cost_usd": number / 100, "latency_ms": 10 * number,
            "tool_calls": [{"name": "search", "latency_ms": 5, "status": "ok"}],
        })


class Port:
    """A server with the port, and keys of its own once it has some."""

    def __init__(self, work, name, settings=SETTINGS):
        self.data = pathlib.Path(work, name)
        self.server = served.Server(self.data, work, settings).wait_ready()
        said = re.search(r"listening on postgresql://([^\s/:]+):(\d+)", self.server.log.read_text())
        self.host, self.port = said[1], int(said[2])
        body = "\n".join(calls())
        answer = self.server.ask("POST", "/api/v1/logs", body.encode())
        assert answer.status == 200, answer.body

    def key(self, *tenants):
        command = [served.binary(), "key", "create", "--name", "a check's", "--scope", "query", "--data", str(self.data)]
        for tenant in tenants:
            command += ["--tenant", tenant]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return re.search(r"dl_[0-9a-f]+_[0-9a-f]+", said)[0]

    def psql(self, statement, key=None, mode="prefer"):
        """What psql prints, what it says of errors, and its exit code."""
        environment = {**os.environ, "PGPASSWORD": key or "", "PGSSLMODE": mode, "PGCONNECT_TIMEOUT": "20"}
        command = ["psql", "-X", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.host, "-p", str(self.port),
                   "-U", "anybody", "-d", "driftline", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PSQL_SECONDS_MAX)
        return done.stdout.strip(), done.stderr.strip(), done.returncode


def short(text, most=160):
    text = " ".join(str(text).split())
    return text if len(text) <= most else text[:most] + " …"


def check_psql(claims, work):
    if shutil.which("psql") is None:
        claims.note("psql", "skipped: it is not installed (postgresql-client)")
        return
    open_port = Port(work, "open")
    expected = {
        "select 1 as one": r"^1$",
        "select count(*), sum(prompt_tokens) from agent_logs": rf"^{CALLS}\|{CALLS * (CALLS - 1) // 2}$",
        r"\dt": r"stored\|agent_logs\|table",
        r"\dv": r"public\|tool_calls\|view",
        r"\d": r"public\|agent_logs\|view",
        r"\d agent_logs": r"timestamp\|timestamp without time zone",
        r"\d public.agent_logs": r"cost_usd\|double precision",
        r"\d+ agent_logs": r"prompt_tokens\|bigint",
        r"\d tool_calls": r"\|text",
        r"\dn": r"public\|",
        r"\l": r"driftline\|",
        r"\dt stored.*": r"stored\|agent_logs\|table",
        r"\di": r"",
        r"\ds": r"",
        r"\du": r"",
        r"\dT": r"",
        r"\df pg_catalog.version": r"",
        r"\conninfo": r"anybody",
        r"\timing": r"Timing",
    }
    for statement, pattern in expected.items():
        printed, errors, code = open_port.psql(statement)
        holds = code == 0 and not re.search("ERROR", errors) and re.search(pattern, printed, re.M)
        claims.check(f"psql {statement}", holds, short(printed or errors))
    printed, errors, code = open_port.psql("drop table agent_logs")
    claims.check("psql writes nothing", code != 0 and "read-only" in errors, short(errors))
    key = open_port.key()
    alpha = open_port.key("alpha")
    printed, errors, code = open_port.psql("select 1")
    claims.check("psql needs a key once there is one", code == 2, short(errors))
    printed, errors, code = open_port.psql("select 1", key[:-1] + ("0" if key[-1] != "0" else "1"))
    claims.check("psql with another's key", code == 2 and "not one of this server's" in errors, short(errors))
    printed, errors, code = open_port.psql("select count(*) from agent_logs", key)
    claims.check("psql with a key", printed == str(CALLS), printed or errors)
    printed, errors, code = open_port.psql("select count(*), max(tenant_id) from agent_logs", alpha)
    claims.check("psql with a tenant's key", printed == f"{CALLS // 2}|alpha", printed or errors)
    open_port.server.stop()

    files = served.ROOT / "testdata" / "tls"
    settings = f'[server]\ntls_cert = "{files}/cert.pem"\ntls_key = "{files}/key.pem"\n[postgres]\nlisten = "127.0.0.1:0"\n'
    command = [served.binary(), "serve", "--data", str(pathlib.Path(work, "tls")), "--listen", "127.0.0.1:0"]
    config = pathlib.Path(work, "tls.toml")
    config.write_text(settings)
    log = pathlib.Path(work, "tls.log")
    with open(log, "wb") as output:
        child = subprocess.Popen([*command, "--config", str(config)], stdout=output, stderr=output)
    try:
        said, tries = None, 0
        while said is None and tries < 600 and child.poll() is None:
            said = re.search(r"listening on postgresql://([^\s/:]+):(\d+)", log.read_text())
            tries += 1
            threading.Event().wait(0.1)
        port = Port.__new__(Port)
        port.host, port.port = said[1], int(said[2])
        for mode in ("require", "disable"):
            printed, errors, code = port.psql("select 1", mode=mode)
            claims.check(f"psql with sslmode={mode}", printed == "1", printed or errors)
        printed, errors, code = port.psql(r"\conninfo", mode="require")
        claims.check("psql says that it is encrypted", "TLSv1.3" in printed, short(printed or errors))
    finally:
        child.terminate()
        child.wait()


def check_psycopg(claims, work):
    if importlib.util.find_spec("psycopg") is None:
        claims.note("psycopg", "skipped: it is not installed and cannot be had")
        return
    import psycopg

    port = Port(work, "psycopg")
    address = f"host={port.host} port={port.port} user=anybody dbname=driftline"
    with psycopg.connect(address) as connection:
        middle = START + datetime.timedelta(minutes=CALLS // 2)
        aware = middle.replace(tzinfo=datetime.timezone.utc)
        cases = [
            ("timestamp", "timestamp >= %s", [middle], CALLS // 2),
            ("timestamp with zone", "timestamp >= %s", [aware], CALLS // 2),
            ("time as text", "timestamp >= %s", ["2026-05-14T14:00:00Z"], CALLS // 2),
            ("date", "date = %s", [START.date()], CALLS),
            ("int", "prompt_tokens < %s", [100], 100),
            ("large int", "prompt_tokens < %s", [1 << 40], CALLS),
            ("float against int", "prompt_tokens < %s", [1.5], 2),
            ("decimal against int", "prompt_tokens < %s", [decimal.Decimal("1.5")], 2),
            ("decimal", "cost_usd < %s", [decimal.Decimal("0.5")], 50),
            ("float", "cost_usd < %s", [0.5], 50),
            ("text", "tenant_id = %s", ["alpha"], CALLS // 2),
            ("text with quotes", "tenant_id = %s", ["al'pha\\"], 0),
            ("bool", "%s and true", [True], CALLS),
            ("null", "tenant_id = %s", [None], 0),
            ("array of text", "tenant_id = any(%s)", [["alpha", "gamma"]], CALLS // 2),
            ("array of int", "prompt_tokens = any(%s)", [[1, 2, 1000]], 2),
            ("several", "tenant_id = %s and prompt_tokens between %s and %s", ["beta", 10, 20], 5),
        ]
        for name, condition, values, expected in cases:
            for binary in (False, True):
                how = "binary" if binary else "text"
                if binary:
                    marked = condition.replace("%s", "%b")
                else:
                    marked = condition.replace("%s", "%t")
                try:
                    found = connection.execute(
                        f"select count(*) from agent_logs where {marked}", values, binary=binary
                    ).fetchone()[0]
                except (psycopg.Error, NotImplementedError) as error:
                    found = error
                    connection.rollback()
                claims.check(f"psycopg {name}, {how}", found == expected, short(found))
        for binary in (False, True):
            how = "binary" if binary else "text"
            row = connection.execute(
                "select timestamp, date, cost_usd, prompt_tokens, tenant_id, task_completed, tool_calls from agent_logs "
                "where request_id = 'r7'", binary=binary,
            ).fetchone()
            expected = (START + datetime.timedelta(minutes=7), START.date(), 0.07, 7, "beta", None)
            claims.check(f"psycopg values, {how}", row[:6] == expected, short(row))
            tools = json.loads(row[6])
            claims.check(f"psycopg what has parts, {how}", tools[0]["name"] == "search", short(row[6]))
        for prepare in range(4):
            rows = connection.execute("select request_id from agent_logs where prompt_tokens < %s order by 1",
                                      [prepare], prepare=True).fetchall()
            claims.check(f"psycopg prepared, run {prepare + 1}", len(rows) == prepare, f"{len(rows)} rows")
        every = connection.execute("select * from agent_logs order by timestamp").fetchall()
        claims.check("psycopg select *", len(every) == CALLS, f"{len(every)} rows of {len(every[0])} columns")
        connection.commit()
        with connection.transaction():
            connection.execute("select 1")
        try:
            connection.execute("select nothing from agent_logs")
        except psycopg.errors.UndefinedColumn as error:
            claims.check("psycopg knows what is wrong", True, short(error))
        connection.rollback()
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        try:
            connection.execute(ENDLESS)
        except psycopg.errors.QueryCanceled as error:
            claims.check("psycopg gives a statement up", True, short(error))
        except psycopg.Error as error:
            claims.check("psycopg gives a statement up", False, short(error))
        connection.rollback()
        with connection.pipeline():
            first = connection.execute("select 1")
            second = connection.execute("select count(*) from agent_logs")
        claims.check("psycopg in a pipeline", (first.fetchone(), second.fetchone()) == ((1,), (CALLS,)), "both answers")
    said = port.server.rows("select sum(cost_usd) as cost from agent_logs")[0]["cost"]
    with psycopg.connect(address) as connection:
        found = connection.execute("select sum(cost_usd) from agent_logs").fetchone()[0]
    claims.check("psycopg and HTTP agree", found == said, f"{found} and {said}")
    keys = {tenant: port.key(tenant) for tenant in TENANTS}
    for tenant, key in keys.items():
        with psycopg.connect(address, password=key) as connection:
            found = connection.execute("select tenant_id, count(*) from agent_logs group by 1").fetchall()
            hidden = connection.execute("select count(*) from stored.agent_logs where tenant_id <> %s", [tenant]).fetchone()
        claims.check(f"psycopg with the key of {tenant}", found == [(tenant, CALLS // 2)] and hidden == (0,), short(found))
    try:
        psycopg.connect(address, password="dl_none")
    except psycopg.OperationalError as error:
        claims.check("psycopg without a key of the server's", "not one of this server's" in str(error), short(error))
    port.server.stop()


def check_sqlalchemy(claims, work):
    if importlib.util.find_spec("psycopg") is None or importlib.util.find_spec("sqlalchemy") is None:
        claims.note("sqlalchemy", "skipped: it is not installed and cannot be had")
        return
    import sqlalchemy

    port = Port(work, "sqlalchemy")
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://anybody@{port.host}:{port.port}/driftline")

    def claim(name, ask, holds):
        try:
            found = ask()
            claims.check(f"sqlalchemy {name}", holds(found), short(found))
            return found
        except sqlalchemy.exc.SQLAlchemyError as error:
            claims.check(f"sqlalchemy {name}", False, short(error, 2_000))
            return None

    look = claim("inspector", lambda: sqlalchemy.inspect(engine), lambda found: found is not None)
    if look is None:
        return
    claim("dialect", lambda: engine.dialect.server_version_info, lambda found: found[0] == 16)
    claim("schemas", look.get_schema_names, lambda found: "public" in found)
    claim("tables", look.get_table_names, lambda found: "rejected_logs" in found)
    claim("tables of a schema", lambda: look.get_table_names("stored"), lambda found: "agent_logs" in found)
    claim("views", look.get_view_names, lambda found: {"agent_logs", "tool_calls"} <= set(found))
    claim("has a table", lambda: look.has_table("agent_logs"), lambda found: found is True)
    claim("has no table", lambda: look.has_table("nothing"), lambda found: found is False)
    columns = claim("columns", lambda: look.get_columns("agent_logs"), lambda found: len(found) > 40)
    kinds = {column["name"]: str(column["type"]) for column in columns or []}
    wanted = {"timestamp": "TIMESTAMP", "cost_usd": "DOUBLE PRECISION", "prompt_tokens": "BIGINT", "tenant_id": "TEXT"}
    claims.check("sqlalchemy types", {name: kinds.get(name) for name in wanted} == wanted,
                 {name: kinds.get(name) for name in wanted})
    claim("primary key", lambda: look.get_pk_constraint("agent_logs"), lambda found: not found["constrained_columns"])
    claim("foreign keys", lambda: look.get_foreign_keys("agent_logs"), lambda found: found == [])
    claim("indexes", lambda: look.get_indexes("agent_logs"), lambda found: found == [])
    claim("unique constraints", lambda: look.get_unique_constraints("agent_logs"), lambda found: found == [])
    claim("check constraints", lambda: look.get_check_constraints("agent_logs"), lambda found: found == [])
    claim("comment", lambda: look.get_table_comment("agent_logs"), lambda found: found == {"text": None})
    metadata = sqlalchemy.MetaData()
    claim("reflection", lambda: metadata.reflect(engine, views=True) or sorted(metadata.tables),
          lambda found: "agent_logs" in found and "tool_calls" in found)
    table = metadata.tables.get("agent_logs")
    if table is not None:
        statement = (
            sqlalchemy.select(table.c.tenant_id, sqlalchemy.func.count(), sqlalchemy.func.sum(table.c.prompt_tokens))
            .where(table.c.timestamp >= START, table.c.tenant_id.in_(TENANTS))
            .group_by(table.c.tenant_id).order_by(table.c.tenant_id).limit(10)
        )
        even = sum(range(0, CALLS, 2))
        with engine.connect() as connection:
            claim("select by what it found", lambda: connection.execute(statement).all(),
                  lambda found: [tuple(row) for row in found]
                  == [("alpha", CALLS // 2, even), ("beta", CALLS // 2, even + CALLS // 2)])
    engine.dispose()
    port.server.stop()


def has_packages():
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def in_environment(work):
    """This script once more, with the packages; none where they cannot be had."""
    directory = pathlib.Path(work, "venv")
    try:
        venv.create(directory, with_pip=True)
        python = str(directory / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES.values()], check=True,
                       timeout=INSTALL_SECONDS_MAX, capture_output=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return subprocess.run([python, *sys.argv], env={**os.environ, "CHECK_POSTGRES": "in its environment"}).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(STEPS), help="steps, by commas")
    steps = parser.parse_args().only.split(",")
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        parser.error(f"{unknown[0]} is no step: they are {', '.join(STEPS)}")
    with tempfile.TemporaryDirectory() as work:
        if steps != ["psql"] and not has_packages() and "CHECK_POSTGRES" not in os.environ:
            code = in_environment(work)
            if code is not None:
                return code
        claims = served.Claims()
        for step in steps:
            {"psql": check_psql, "psycopg": check_psycopg, "sqlalchemy": check_sqlalchemy}[step](claims, work)
        return claims.finish()


if __name__ == "__main__":
    sys.exit(main())
