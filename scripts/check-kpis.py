#!/usr/bin/env python3
"""Are the KPIs right? Every KPI at every grain and for every key, against plain Python over the same lines.

usage: scripts/check-kpis.py [--seed 1] [--days 45] [--rate 250] [--only NAME,NAME] [--data DIR]

Lines come from the product's own generator, and some are changed: fields are missing, circuit breakers have states,
agents go down and come back. Most of them are committed and rolled up when the questions begin, the rest is not. The
range begins and ends within an hour. Counts have to be equal, sums of money and means equal to 1e-9, percentiles
within 1 % of the exact rank, distinct counts exact up to 512 (one too few is allowed there, as documented) and within
four standard errors of 1.6 % above. The score card of a month and the coverage are confirmed as well. Nothing here
reads the SQL. One line a KPI; the exit code is 1 where one differs. The binary is $DRIFTLINE, else the newer build.
"""

import argparse
import collections
import datetime
import json
import math
import pathlib
import sys
import tempfile
import time
import urllib.parse
import zlib

import served

START = datetime.datetime(2026, 1, 20, tzinfo=datetime.timezone.utc)
# Rollups soon, and time to answer on a machine that is busy with other things.
SETTINGS = "[rollup]\nsettled_s = 1\n[query]\ntimeout_s = 600\n"
ANSWER_SECONDS_MAX = 660
TASK_VALUES = {"rag_agent_v2": 0.5, "support_triage": 4.0}
TOKEN_QUOTAS = {"tenant-healthcare-001": 400_000, "tenant-retail-003": 20_000}
GRAINS = ("hour", "day", "month")
KEYS = {"all": lambda call: "all", "agent": lambda call: call.agent, "tenant": lambda call: call.tenant,
        "model": lambda call: call.model}
CLOSE = 1e-9
QUANTILE_ERROR = 0.01
DISTINCT_EXACT_MAX = 512
DISTINCT_ERROR = 4 * 0.016
TURNS_ERROR = 0.01
ROLLUP_SECONDS_MAX = 180
BASELINE_WINDOWS = 7
DOWN_CALLS_MIN = 5

CONTEXT_OVERFLOWS = {"context_length_exceeded", "context_window_exceeded", "context_overflow",
                     "model_context_window_exceeded", "contextwindowexceedederror", "prompt_too_long"}

# The score card as it is asked for: three tiers, the easiest first.
TIERS = {
    "availability": (">=", 0.99, 0.995, 0.999),
    "latency_mean": ("<", 5000, 3000, 2000),
    "error_rate": ("<", 0.05, 0.01, 0.005),
    "hallucination_rate": ("<", 0.10, 0.03, 0.01),
    "task_completion": (">", 0.80, 0.90, 0.95),
    "cost_per_call": ("<", 0.20, 0.08, 0.03),
    "time_to_recover": ("<=", 240, 120, 30),
    "user_satisfaction": (">", 0.70, 0.80, 0.90),
}


class Call:
    """One line, as a reader of the documentation would take it."""

    def __init__(self, line):
        record = json.loads(line)
        self.record = record
        self.time = datetime.datetime.fromisoformat(record["timestamp"].replace("Z", "+00:00"))
        self.agent, self.tenant, self.model = (record.get(name) for name in ("agent_id", "tenant_id", "model"))
        self.cost = record.get("cost_usd")
        quality = record.get("quality_scores") or {}
        self.hallucination = quality.get("hallucination_probability")
        self.groundedness = quality.get("groundedness")
        self.done = record.get("task_completed")
        self.tools = record.get("tool_calls") or []
        error_type, status = (record.get("error_type") or "").lower(), record.get("http_status") or 0
        self.failed = record.get("error") is not None or record.get("error_type") is not None or status >= 400
        self.timed_out = "timeout" in error_type or status in (408, 504)
        finish = (record.get("finish_reason") or "").lower()
        self.overflowed = error_type in CONTEXT_OVERFLOWS or finish == "model_context_window_exceeded"
        self.unanswered = (status >= 500 or status == 408 or "timeout" in error_type
                           or error_type == "provider_error") and "tool" not in error_type

    def __getitem__(self, name):
        return self.record.get(name)


# How a figure is made: value, samples, and where the KPI has them numerator and denominator.
Figure = collections.namedtuple("Figure", "value samples numerator denominator", defaults=(None, None))


def present(calls, read):
    return [value for value in map(read, calls) if value is not None]


def field(name):
    return lambda call: call[name]


def mean(read):
    def figure(calls):
        values = present(calls, read)
        return Figure(math.fsum(values) / len(values) if values else None, len(values))

    return figure


def total(values):
    return math.fsum(values) if values else None


def over(numerator, denominator):
    return None if numerator is None or not denominator else numerator / denominator


def growth(now, before):
    ratio = over(now, before)
    return None if ratio is None else ratio - 1


def mean_with_parts(read):
    def figure(calls):
        values = present(calls, read)
        return Figure(over(total(values), len(values)), len(values), total(values), len(values))

    return figure


def share(is_one, is_known=lambda call: True):
    def figure(calls):
        known = [call for call in calls if is_known(call)]
        ones = sum(1 for call in known if is_one(call))
        return Figure(over(ones, len(known)), len(known), ones, len(known))

    return figure


def quantile(read, level):
    def figure(calls):
        values = sorted(present(calls, read))
        return Figure(values[math.floor(level * (len(values) - 1))] if values else None, len(values))

    return figure


def known(name):
    return lambda call: call[name] is not None


def distinct(name):
    return lambda calls: Figure(len(set(present(calls, field(name)))), len(present(calls, field(name))))


def efficiency(calls):
    sent, answered = present(calls, field("prompt_tokens")), present(calls, field("completion_tokens"))
    return Figure(over(total(answered), total(sent)), len(sent), total(answered), total(sent))


def money(calls):
    costs = present(calls, lambda call: call.cost)
    return Figure(total(costs), len(costs))


def that_tell(calls):
    """Those of agents of which a call says whether its task was done."""
    told = {call.agent for call in calls if call.done is not None}
    return [call for call in calls if call.agent in told]


def cost_per_resolved_task(calls):
    calls = that_tell(calls)
    costs, done = present(calls, lambda call: call.cost), sum(1 for call in calls if call.done)
    return Figure(over(total(costs), done), sum(call.done is not None for call in calls), total(costs), done)


def return_on_cost(calls):
    valued = [call for call in calls if call.agent in TASK_VALUES]
    telling = that_tell(valued)
    done = [call for call in valued if call.done]
    worth = total([TASK_VALUES[call.agent] for call in done] or [0.0] * bool(valued))
    cost = total(present(telling, lambda call: call.cost))
    return Figure(over(worth, cost), sum(call.done is not None for call in valued), worth, cost)


def quota_used(calls):
    limited = [call for call in calls if call.tenant in TOKEN_QUOTAS]
    if not limited:
        return None
    tokens = sum((call["prompt_tokens"] or 0) + (call["completion_tokens"] or 0) for call in limited)
    quota = sum(TOKEN_QUOTAS[tenant] for tenant in {call.tenant for call in limited})
    return Figure(over(tokens, quota), len(limited), tokens, quota)


def tools(figure):
    return lambda calls: figure([tool for call in calls for tool in call.tools])


def tool_latency(entries):
    return quantile(lambda tool: tool.get("latency_ms"), 0.95)(entries)


def tool_failures(entries):
    statuses = present(entries, lambda tool: tool.get("status"))
    failed = sum(1 for status in statuses if status != "success")
    return Figure(over(failed, len(statuses)), len(statuses), failed, len(statuses))


OF_CALLS = {
    "ttft_p50": quantile(field("ttft_ms"), 0.5),
    "ttft_p95": quantile(field("ttft_ms"), 0.95),
    "ttft_p99": quantile(field("ttft_ms"), 0.99),
    "latency_p95": quantile(field("latency_ms"), 0.95),
    "latency_mean": mean(field("latency_ms")),
    "queue_wait_p95": quantile(field("queue_wait_ms"), 0.95),
    "tool_latency_p95": tools(tool_latency),
    "tool_failure_rate": tools(tool_failures),
    "input_tokens": mean_with_parts(field("prompt_tokens")),
    "output_tokens": mean_with_parts(field("completion_tokens")),
    "token_efficiency": efficiency,
    "token_quota_used": quota_used,
    "cost": money,
    "cost_per_call": mean_with_parts(lambda call: call.cost),
    "cost_per_resolved_task": cost_per_resolved_task,
    "return_on_cost": return_on_cost,
    "hallucination_rate": mean(lambda call: call.hallucination),
    "hallucination_p90": quantile(lambda call: call.hallucination, 0.9),
    "groundedness": mean(lambda call: call.groundedness),
    "user_satisfaction": mean(field("user_satisfaction")),
    "task_completion": share(lambda call: call.done, lambda call: call.done is not None),
    "escalation_rate": share(field("escalated"), known("escalated")),
    "guardrail_block_rate": share(lambda call: call["guardrail_status"] == "blocked", known("guardrail_status")),
    "error_rate": share(lambda call: call.failed),
    "timeout_rate": share(lambda call: call.timed_out),
    "context_overflow_rate": share(lambda call: call.overflowed),
    "availability": share(lambda call: not call.unanswered),
    "retry_rate": share(lambda call: call["retry_count"] > 0, known("retry_count")),
    "circuit_breaker_rate": share(lambda call: call["circuit_breaker_state"].lower() == "open",
                                  known("circuit_breaker_state")),
    "active_sessions": distinct("session_id"),
    "active_users": distinct("user_id"),
}


def start_of(grain, moment):
    floor = moment.replace(minute=0, second=0, microsecond=0)
    if grain != "hour":
        floor = floor.replace(hour=0)
    return floor.replace(day=1) if grain == "month" else floor


def step(grain, start, windows):
    if grain != "month":
        return start + windows * datetime.timedelta(**{grain + "s": 1})
    months = start.year * 12 + start.month - 1 + windows
    return start.replace(year=months // 12, month=months % 12 + 1)


class Question:
    """A range, a grain and what has figures of its own."""

    def __init__(self, calls, begin, end, grain, by):
        self.calls, self.begin, self.end, self.grain, self.by = calls, begin, end, grain, by

    def grouped(self, begin):
        groups = collections.defaultdict(list)
        for call in self.calls:
            if begin <= call.time < self.end:
                groups[start_of(self.grain, call.time), KEYS[self.by](call)].append(call)
        return groups

    def figures(self, name):
        if name in OF_CALLS:
            rows = {group: OF_CALLS[name](calls) for group, calls in self.grouped(self.begin).items()}
            if name.startswith("tool_"):
                has_tools = {group for group, calls in self.grouped(self.begin).items() if any(c.tools for c in calls)}
                rows = {group: figure for group, figure in rows.items() if group in has_tools}
            return {group: figure for group, figure in rows.items() if figure is not None}
        return getattr(self, name)()

    def compared(self, windows, figure, compare):
        """Each window against those before it, of which the range need not hold any."""
        first = start_of(self.grain, self.begin)
        groups = self.grouped(step(self.grain, first, -windows))
        found = {group: figure(calls) for group, calls in groups.items()}
        rows = {}
        for (start, key), now in found.items():
            if start >= first:
                before = [found.get((step(self.grain, start, -back), key)) for back in range(1, windows + 1)]
                rows[start, key] = compare(now, [each for each in before if each is not None])
        return rows

    def cost_baseline_ratio(self):
        def compare(now, before):
            costs = [each.value for each in before if each.value is not None]
            baseline = over(total(costs), len(costs))
            return Figure(over(now.value, baseline), len(costs), now.value, baseline)

        return self.compared(BASELINE_WINDOWS, money, compare)

    def cost_growth(self):
        def compare(now, before):
            baseline = before[0].value if before else None
            samples = min(now.samples, before[0].samples) if before else 0
            return Figure(growth(now.value, baseline), samples, now.value, baseline)

        return self.compared(1, money, compare)

    def active_users_change(self):
        def compare(now, before):
            # In a window without calls nobody is.
            baseline = before[0].value if before else 0
            return Figure(growth(now.value, baseline), baseline, now.value, baseline)

        rows = self.compared(1, distinct("user_id"), compare)
        # Nobody at all is no call, and a change all the same.
        first = start_of(self.grain, self.begin)
        for (start, key), calls in self.grouped(step(self.grain, first, -1)).items():
            after, users = step(self.grain, start, 1), distinct("user_id")(calls).value
            if first <= after < self.end and (after, key) not in rows and users > 0:
                rows[after, key] = Figure(-1.0, users, 0, users)
        return rows

    def sessions(self):
        found = collections.defaultdict(list)
        for call in self.calls:
            if call["session_id"] is not None:
                found[call.tenant, call["session_id"], call.time.date()].append(call)
        groups = collections.defaultdict(list)
        for (tenant, _, _), calls in found.items():
            calls.sort(key=lambda call: call.time)
            first = lambda read: next(iter(present(calls, read)), None)
            key = {"all": "all", "tenant": tenant, "agent": first(lambda c: c.agent), "model": first(lambda c: c.model)}
            if self.begin <= calls[0].time < self.end:
                groups[start_of(self.grain, calls[0].time), key[self.by]].append(calls)
        return groups

    def cost_per_session(self):
        def figure(sessions):
            costs = present((total(present(calls, lambda call: call.cost)) for calls in sessions), lambda cost: cost)
            return Figure(over(total(costs), len(costs)), len(costs), total(costs), len(costs))

        return {group: figure(sessions) for group, sessions in self.sessions().items()}

    def turns_per_session(self):
        def turns(calls):
            traces = present(calls, field("trace_id"))
            return len(set(traces)) + len(calls) - len(traces)

        def figure(sessions):
            count = sum(map(turns, sessions))
            return Figure(count / len(sessions), len(sessions), count, len(sessions))

        return {group: figure(sessions) for group, sessions in self.sessions().items()}

    def time_to_recover(self):
        minutes = collections.defaultdict(lambda: [0, 0])
        # An incident may end after the end, by that of its day.
        until = start_of("day", self.end) + datetime.timedelta(days=1)
        for call in self.calls:
            if self.begin <= call.time < until and call.agent is not None:
                counted = minutes[KEYS[self.by](call), call.agent, call.time.replace(second=0, microsecond=0)]
                counted[0] += 1
                counted[1] += call.unanswered
        began, lengths = {}, collections.defaultdict(list)
        for key, agent, minute in sorted(minutes, key=lambda group: group[2]):
            calls, unanswered = minutes[key, agent, minute]
            if unanswered * 2 >= calls:
                if calls >= DOWN_CALLS_MIN:
                    began.setdefault((key, agent), minute)
            elif (key, agent) in began and (start := began.pop((key, agent))) < self.end:
                lengths[start_of(self.grain, start), key].append((minute - start).total_seconds() / 60)
        return {group: Figure(sum(each) / len(each), len(each), sum(each), len(each)) for group, each in lengths.items()}


def lines_of(work, options):
    """The generator's lines, some of them changed, and an agent's outages."""
    generated = served.generate(work / "generated.ndjson", options.seed, START.isoformat().replace("+00:00", "Z"),
                                options.days, options.rate)
    lines = []
    for line in generated:
        record = json.loads(line)
        dice = zlib.crc32(record["request_id"].encode())
        if dice % 5:
            record["circuit_breaker_state"] = "open" if dice % 50 == 1 else "half_open" if dice % 50 == 2 else "closed"
        for name, chance in (("agent_id", 97), ("model", 89), ("cost_usd", 31), ("ttft_ms", 37), ("session_id", 101),
                             ("user_id", 41), ("trace_id", 43), ("retry_count", 47), ("guardrail_status", 53)):
            if dice % chance == 3:
                del record[name]
        if "model" not in record:
            del record["model_version"]  # which would stand in for it
        if record["error"] and dice % 3 == 0:
            record["error"] = record["error_type"] = None
        if dice % 29 == 0 and record["tool_calls"]:
            del record["tool_calls"][0]["status"], record["tool_calls"][-1]["latency_ms"]
        lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    return lines + outages(json.loads(generated[len(generated) // 2]), options.days)


def outages(pattern, days):
    """Twelve minutes of one agent, five of another with a quiet minute within, and one that ends with its next call."""
    down = {"error": "overloaded", "error_type": "provider_error", "http_status": 503, "finish_reason": "error"}
    lines = []

    def minute(start, agent, offset, calls, unanswered):
        for call in range(calls):
            moment = start + datetime.timedelta(minutes=offset, seconds=call * 7)
            record = {**pattern, "agent_id": agent, "timestamp": moment.isoformat(timespec="milliseconds"),
                      "request_id": f"outage-{agent}-{moment.isoformat()}", "trace_id": f"outage-{len(lines)}"}
            record.update(down if call < unanswered else {})
            lines.append(json.dumps(record).encode() + b"\n")

    first = START + datetime.timedelta(days=days // 3, hours=10)
    for offset in range(12):
        minute(first, "rag_agent_v2", offset, 6, 3 + offset % 3)
    minute(first, "rag_agent_v2", 12, 8, 2)
    second = START + datetime.timedelta(days=days // 2, hours=3, minutes=58)
    for offset in (0, 1, 3, 4):
        minute(second, "voice_agent", offset, 5, 5)
    minute(second, "voice_agent", 2, 2, 2)
    minute(second, "voice_agent", 5, 5, 0)
    minute(second, "voice_agent", 30, 7, 7)
    return lines


def differences(name, expected, got):
    """What is not as it should be."""
    found = []
    rows = {(row["window_start"], row["key"]): row for row in got}
    if len(rows) != len(got):
        found.append("a window and key stand twice")
    wanted = {(start.strftime("%Y-%m-%dT%H:%M:%S.000000Z"), key): figure for (start, key), figure in expected.items()}
    for group in sorted(wanted.keys() ^ rows.keys(), key=str):
        found.append(f"{group} is {'missing' if group in wanted else 'too many'}")
    for group in wanted.keys() & rows.keys():
        row, figure = rows[group], wanted[group]
        if name == "active_users_change":
            # Made of two estimates, which are compared below; of these two it has to be exact.
            figure = figure._replace(value=growth(row["numerator"], row["denominator"]))
        # KPIs whose value says all have no numerator and denominator.
        for part in (part for part in Figure._fields if part in row):
            want, have = getattr(figure, part), row[part]
            if not agree(name, part, want, have):
                found.append(f"{group} {part} is {have}, not {want}")
    return found


def agree(name, part, want, have):
    if want is None or have is None:
        return want is have
    is_change = name == "active_users_change"
    if part == "samples" and not is_change:
        return want == have
    if name == "turns_per_session":
        return abs(want - have) <= TURNS_ERROR * want
    if name in ("active_sessions", "active_users") or is_change and part != "value":
        return have in (want, want - 1) if want <= DISTINCT_EXACT_MAX else abs(want - have) <= DISTINCT_ERROR * want
    if part == "value" and name.rpartition("_")[2] in ("p50", "p90", "p95", "p99"):
        return abs(want - have) <= QUANTILE_ERROR * want + CLOSE
    return abs(want - have) <= CLOSE * max(1.0, abs(want))


class Asker:
    def __init__(self, server):
        self.connection = served.Connection(server.address, ANSWER_SECONDS_MAX)

    def ask(self, path, **query):
        answer = self.connection.ask("GET", path + "?" + urllib.parse.urlencode(query))
        if answer.status != 200:
            raise served.Broken(f"{answer.status} {answer.error()} for {path} {query}")
        return answer.json()


def check_kpi(claims, asker, calls, begin, end, name):
    rows = valued = 0
    wrong = []
    for grain in GRAINS:
        for by in KEYS:
            expected = Question(calls, begin, end, grain, by).figures(name)
            got = asker.ask(f"/api/v1/queries/{name}", **{"from": begin.isoformat(), "to": end.isoformat()}, grain=grain,
                            by=by)
            wrong += [f"{grain} by {by}: {each}" for each in differences(name, expected, got)]
            rows += len(got)
            valued += sum(1 for row in got if row["value"] is not None)
    said = f"{rows:,} rows, {valued:,} with a value" + (f"; {len(wrong)} differ: " + "; ".join(wrong[:3]) if wrong else "")
    claims.check(name, valued > 0 and not wrong, said)


def check_card(claims, asker, calls):
    month = start_of("month", START + datetime.timedelta(days=25))
    end = step("month", month, 1)
    card = asker.ask("/api/v1/kpis", month=month.strftime("%Y-%m"))
    lines = {line["name"]: line for line in card["card"]}
    claims.check("score card: its lines", set(lines) == set(TIERS), ", ".join(sorted(lines)))
    holds = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
    for name, (sign, *bounds) in TIERS.items():
        want = Question(calls, month, end, "month", "all").figures(name)[month, "all"]
        reached = "none"
        for tier, bound in zip(("basic", "good", "excellent"), bounds):
            if not holds[sign](want.value, bound):
                break
            reached = tier
        line = lines.get(name, {})
        fits = agree(name, "value", want.value, line.get("value")) and line.get("tier") == reached
        trend = (line.get("trend") or {}).get("direction")
        claims.check(f"score card: {name}", fits, f"{line.get('value')} is {line.get('tier')}, {trend}; want {reached}")
    returns = Question(calls, month, end, "month", "agent").figures("return_on_cost")
    wrong = []
    for line in card["returns"]:
        want = returns[month, line["agent_id"]]
        fits = agree("return_on_cost", "value", want.value, line["return_on_cost"]) and (
            line["state"] == "not_measured") == (line["agent_id"] not in TASK_VALUES)
        wrong += [] if fits else [f"{line} is not {want}"]
    claims.check("score card: returns", not wrong and len(card["returns"]) == len(returns),
                 f"{len(returns)} agents" + "".join(wrong[:2]))


def total_tokens(call):
    """As sent, else of the parts where both are."""
    if call["total_tokens"] is not None:
        return call["total_tokens"]
    parts = call["prompt_tokens"], call["completion_tokens"]
    return None if None in parts else sum(parts)


def check_coverage(claims, asker, calls, begin, end):
    coverage = asker.ask("/api/v1/coverage", **{"from": begin.isoformat(), "to": end.isoformat()})
    within = [call for call in calls if begin <= call.time < end]
    derived = {"cost": lambda call: call.cost, "hallucination_probability": lambda call: call.hallucination,
               "groundedness": lambda call: call.groundedness, "tool_calls": lambda call: call.tools or None,
               "total_tokens": total_tokens,
               "relevance": lambda call: (call["quality_scores"] or {}).get("relevance"),
               "cost_computed_usd": lambda call: None,
               "task_value_usd": lambda call: TASK_VALUES.get(call.agent),
               "token_daily_quota": lambda call: call.tenant,
               # The check's server has none.
               "objective": lambda call: None}
    wrong, fields = [], 0
    for agent in coverage["agents"]:
        own = [call for call in within if call.agent == agent["agent_id"]]
        entries = [tool for call in own for tool in call.tools]
        if agent["calls"] != len(own):
            wrong.append(f"{agent['agent_id']}: {agent['calls']} calls, not {len(own)}")
        for entry in agent["fields"]:
            name = entry["field"]
            if name in ("tool_latency_ms", "tool_status"):
                want = len(present(entries, lambda tool: tool.get(name.removeprefix("tool_"))))
            else:
                want = len(present(own, derived.get(name, field(name))))
            fields += 1
            if entry["carried"] != want:
                wrong.append(f"{agent['agent_id']}: {name} {entry['carried']}, not {want}")
        blind = {each["name"] for each in agent["blind"]}
        silent = not any(known("guardrail_status")(call) for call in own)
        if ("LlmGuardrailBlocksHigh" in blind) != silent:
            wrong.append(f"{agent['agent_id']}: blind {sorted(blind)}")
    agents = {call.agent for call in within}
    claims.check("coverage", not wrong and len(coverage["agents"]) == len(agents),
                 f"{fields} fields of {len(agents)} agents" + "; ".join([""] + wrong[:3]))


def load(server, lines):
    for offset in range(0, len(lines), 2_000):
        body = b"".join(lines[offset:offset + 2_000])
        answer = server.ask("POST", "/api/v1/logs", body, {"content-type": "application/x-ndjson"})
        if answer.status != 200 or answer.json()["rejected"]:
            raise SystemExit(f"{answer.status}: {answer.body[:300]}")


def wait_for_rollups(server):
    deadline = time.monotonic() + ROLLUP_SECONDS_MAX
    while time.monotonic() < deadline:
        plan = str(server.rows("explain select agent_id, count(*) from agent_logs group by 1"))
        if "rollup_calls_day" in plan and "TableScan: agent_logs" not in plan:
            return True
        time.sleep(1)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=45)
    parser.add_argument("--rate", type=float, default=250)
    parser.add_argument("--only", default="")
    parser.add_argument("--data")
    options = parser.parse_args()
    claims = served.Claims()
    with tempfile.TemporaryDirectory(prefix="driftline-kpis-", dir=options.data) as directory:
        work = pathlib.Path(directory)
        lines = lines_of(work, options)
        calls = [Call(line) for line in lines]
        values = [f'[kpi.agents."{agent}"]\ntask_value_usd = {usd}\n' for agent, usd in TASK_VALUES.items()]
        values += [f'[metrics.tenants."{tenant}"]\ntoken_daily_quota = {quota}\n' for tenant, quota in TOKEN_QUOTAS.items()]
        server = served.Server(work / "data", work, SETTINGS + "".join(values)).wait_ready()
        try:
            load(server, lines[:len(lines) * 9 // 10])
            claims.check("rollups are used", wait_for_rollups(server), f"{len(lines) * 9 // 10:,} of {len(lines):,} records")
            load(server, lines[len(lines) * 9 // 10:])
            asker = Asker(server)
            begin = START + datetime.timedelta(days=1, hours=10, minutes=17)
            end = START + datetime.timedelta(days=options.days, hours=-5, minutes=-11)
            listed = asker.ask("/api/v1/queries")
            kpis = [query["name"] for query in listed if any(line["key"] == "group" for line in query["other"])]
            confirmed = [name for name in kpis if name in OF_CALLS or hasattr(Question, name)]
            claims.check("every KPI has a computation of its own", kpis == confirmed, f"{len(kpis)} KPIs")
            wanted = [name for name in options.only.split(",") if name] or confirmed
            for name in wanted:
                check_kpi(claims, asker, calls, begin, end, name)
            check_card(claims, asker, calls)
            check_coverage(claims, asker, calls, begin, end)
            claims.check("the server had nothing to complain of", not server.complaints(), str(server.complaints()[:2]))
        finally:
            server.stop()
    return claims.finish()


if __name__ == "__main__":
    sys.exit(main())
