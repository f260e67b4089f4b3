#!/usr/bin/env python3
"""Makes dashboards/grafana/{driftline,prometheus}/*.json: six dashboards, each for two datasources.

usage: dashboards.py [--check]

Thresholds are the targets and alerts of sql/kpis, units those of the same headers, so that a panel is red where the
KPI calls for someone. With --check nothing is written; the script ends with 1 where a committed file is not what it
would make.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "dashboards" / "grafana"
DRIFTLINE = {"type": "simpod-json-datasource", "uid": "driftline"}
PROMETHEUS = {"type": "prometheus", "uid": "driftline-prometheus"}
BUILT_IN = {"type": "grafana", "uid": "-- Grafana --"}
UNITS = {"USD": "currencyUSD", "ms": "ms", "ratio": "percentunit", "tokens": "short", "count": "short", "min": "m"}
GREEN, YELLOW, RED = "green", "yellow", "red"


# ---------------------------------------------------------------- KPIs


class Kpi:
    """What the header of a KPI's file says."""

    def __init__(self, path):
        lines = (line.removeprefix("-- ").partition(": ") for line in path.read_text().splitlines() if line.startswith("-- "))
        head = {}
        for key, _, value in lines:
            head.setdefault(key, value.strip())
        self.name = path.stem
        self.question = head["question"]
        self.unit = UNITS[head["unit"]]
        self.target = head.get("target")
        self.alert = head.get("alert")
        self.tiers = head.get("tiers")
        self.grain = head.get("judged_at", "day")

    def steps(self):
        """Grafana's threshold steps: from each value on, a color."""
        if self.target and " to " in self.target:
            least, most = map(float, self.target.split(" to "))
            steps = [(None, YELLOW), (least, GREEN), (most, YELLOW)]
            return steps + ([(bound(self.alert)[1], RED)] if self.alert else [])
        good, bad = self.target, self.alert
        if not good and self.tiers:
            easy, middle, _ = (tier.strip() for tier in self.tiers.split(","))
            good, bad = middle, opposite(easy)
        if not good and not bad:
            return [(None, GREEN)]
        is_less_better = bound(good)[0].startswith("<") if good else bound(bad)[0].startswith(">")
        if is_less_better:
            steps = [(None, GREEN)]
            if good:
                steps.append((bound(good)[1], YELLOW))
            if bad:
                steps.append((bound(bad)[1], RED))
            return steps
        steps = [(None, RED if bad else YELLOW)]
        if bad:
            steps.append((bound(bad)[1], YELLOW))
        if good:
            steps.append((bound(good)[1], GREEN))
        return steps


def bound(text):
    sign, value = re.fullmatch(r"(<=?|>=?) *(-?[0-9.]+)", text).groups()
    return sign, float(value)


def opposite(text):
    sign, value = bound(text)
    return f"{'>' if sign.startswith('<') else '<'} {value:g}"


KPIS = {path.stem: Kpi(path) for path in sorted((ROOT / "sql" / "kpis").glob("*.sql"))}


def thresholds(steps):
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


# ---------------------------------------------------------------- panels


def defaults(unit, kpi=None, custom=None, scale=1.0):
    """`scale` is how many of the panel's units one of the KPI's is: s for ms is 0.001."""
    steps = KPIS[kpi].steps() if kpi else [(None, GREEN)]
    scaled = [(None if value is None else round(value * scale, 9), color) for value, color in steps]
    return {
        "color": {"mode": "thresholds" if kpi and custom is None else "palette-classic"},
        "custom": custom or {},
        "mappings": [],
        "thresholds": thresholds(scaled),
        "unit": unit,
    }


def timeseries(title, targets, unit="short", kpi=None, width=12, height=8, stacked=False, bars=False, description="", scale=1.0):
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 10 if not stacked else 30,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 4,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "line" if kpi else "off"},
    }
    return {
        "type": "timeseries",
        "title": title,
        "description": description or (KPIS[kpi].question if kpi else ""),
        "fieldConfig": {"defaults": defaults(unit, kpi, custom, scale), "overrides": []},
        "options": {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": targets,
        "size": (width, height),
    }


def stat(title, targets, unit="short", kpi=None, calc="lastNotNull", width=4, height=4, description="", scale=1.0):
    return {
        "type": "stat",
        "title": title,
        "description": description or (KPIS[kpi].question if kpi else ""),
        "fieldConfig": {"defaults": defaults(unit, kpi, scale=scale), "overrides": []},
        "options": {
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
            "percentChangeColorMode": "standard",
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        },
        "targets": targets,
        "size": (width, height),
    }


def table(title, targets, width=24, height=9, description=""):
    return {
        "type": "table",
        "title": title,
        "description": description,
        "fieldConfig": {
            "defaults": {"custom": {"align": "auto", "inspect": False}, "mappings": [], "thresholds": thresholds([(None, GREEN)])},
            "overrides": [],
        },
        "options": {"cellHeight": "sm", "showHeader": True},
        "targets": targets,
        "size": (width, height),
    }


def placed(panels, datasource):
    """Panels with ids and places, left to right and then down."""
    out, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        panel = dict(panel)
        width, height = panel.pop("size")
        if x + width > 24:
            x, y, row = 0, y + row, 0
        panel = {
            "id": number,
            "datasource": datasource,
            "gridPos": {"h": height, "w": width, "x": x, "y": y},
            **panel,
        }
        panel["targets"] = [
            {"refId": chr(ord("A") + at), "datasource": datasource, **target} for at, target in enumerate(panel["targets"])
        ]
        out.append(panel)
        x, row = x + width, max(row, height)
    return out


# ---------------------------------------------------------------- targets

# As an object and in builder mode: then the plugin puts each variable in by itself, several values as `(a|b)`.
CHOSEN = {"tenant_id": "$tenant", "agent_id": "$agent", "model": "$model"}


def ask(metric, values=None, by=None, **payload):
    own = dict(CHOSEN)
    if values:
        own["values"] = values
    if by:
        own["group_by"] = by
    own.update(payload)
    return {"target": metric, "editorMode": "builder", "payload": own}


def sql(statement, **payload):
    return {"target": "sql", "editorMode": "builder", "payload": {**CHOSEN, "q": statement, **payload}}


def kpi(name, by=None, grain=None, **payload):
    return ask(name, by=by, grain=grain or KPIS[name].grain, **payload)


def prom(expr, legend="", instant=False):
    return {
        "expr": expr,
        "legendFormat": legend or "__auto",
        "editorMode": "code",
        "range": not instant,
        "instant": instant,
        **({"format": "table"} if instant else {}),
    }


ALL = 'tenant_id=~"$tenant",agent_id=~"$agent",model=~"$model"'
AGENT_MODEL = 'agent_id=~"$agent",model=~"$model"'
AGENT = 'agent_id=~"$agent"'
RATE = "$__rate_interval"


def over_agents(gauge):
    """A ratio of all agents together: of the ratios of each, the mean by how many calls it had in the hour that they are of."""
    # By agent on both sides, however many targets have it.
    ratio, calls = f"avg by (agent_id) ({gauge}{{{AGENT}}})", f"sum by (agent_id) (increase(llm_requests_total{{{AGENT}}}[1h]))"
    return f"sum({ratio} * on (agent_id) {calls}) / sum({calls} and on (agent_id) {ratio})"


def total(family, labels, by="", window=RATE, function="rate"):
    inner = f"{function}({family}{{{labels}}}[{window}])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(q, family, labels, by="", window=RATE, offset=""):
    groups = f"le, {by}" if by else "le"
    shift = f" offset {offset}" if offset else ""
    return f"histogram_quantile({q}, sum by ({groups}) (rate({family}_bucket{{{labels}}}[{window}]{shift})))"


def mean(family, labels, by="", window=RATE, offset=""):
    shift = f" offset {offset}" if offset else ""
    groups = f" by ({by})" if by else ""
    return (
        f"sum{groups} (rate({family}_sum{{{labels}}}[{window}]{shift}))"
        f" / sum{groups} (rate({family}_count{{{labels}}}[{window}]{shift}))"
    )


# ---------------------------------------------------------------- dashboards


def overview_driftline():
    return [
        stat("Calls", [ask("traffic_over_time", "calls")], calc="sum"),
        stat("Cost", [ask("cost_over_time", "cost_usd")], "currencyUSD", calc="sum"),
        stat("Tokens", [ask("tokens_over_time", "total_tokens")], calc="sum"),
        stat("Error rate, last hour", [kpi("error_rate", grain="hour")], "percentunit", "error_rate"),
        stat("Latency p95, last hour", [kpi("latency_p95", grain="hour")], "ms", "latency_p95"),
        stat("Hallucination rate, last hour", [kpi("hallucination_rate", grain="hour")], "percentunit", "hallucination_rate"),
        timeseries("Calls by agent", [ask("traffic_over_time", "calls", "agent_id")], stacked=True, bars=True),
        timeseries("Cost by agent", [ask("cost_over_time", "cost_usd", "agent_id")], "currencyUSD", stacked=True, bars=True),
        timeseries("Error rate by agent", [ask("traffic_over_time", "error_rate", "agent_id")], "percentunit", "error_rate"),
        timeseries("Latency p95 by agent", [ask("latency_over_time", "latency_p95_ms", "agent_id")], "ms", "latency_p95"),
        timeseries("Conversations and people", [ask("traffic_over_time", "sessions,users")]),
        timeseries("Cost by tenant", [ask("cost_over_time", "cost_usd", "tenant_id")], "currencyUSD", stacked=True, bars=True),
        table("Errors by type", [ask("errors_by_type", limit="20")], 12),
        table("Conversations that cost the most", [ask("top_sessions_by_cost", limit="20")], 12),
    ]


def overview_prometheus():
    requests = "llm_requests_total"
    return [
        stat("Calls", [prom(total(requests, ALL, function="increase", window="$__range"), instant=False)]),
        stat("Cost", [prom(total("llm_cost_usd_total", ALL, function="increase", window="$__range"))], "currencyUSD"),
        stat("Tokens", [prom(total("llm_tokens_total", ALL, function="increase", window="$__range"))]),
        stat(
            "Error rate, last hour",
            [prom(f"{total('llm_errors_total', AGENT_MODEL, window='1h')} / {total(requests, AGENT_MODEL, window='1h')}")],
            "percentunit",
            "error_rate",
        ),
        stat(
            "Latency p95, last hour",
            [prom(quantile(0.95, "llm_request_duration_seconds", AGENT_MODEL, window="1h"))],
            "s",
            "latency_p95",
            scale=0.001,
        ),
        stat("Active sessions", [prom(f"sum(llm_active_sessions{{{AGENT}}})")]),
        timeseries("Calls a second by agent", [prom(total(requests, ALL, "agent_id"), "{{agent_id}}")], "reqps", stacked=True),
        timeseries(
            "Cost an hour by agent",
            [prom(f"{total('llm_cost_usd_total', ALL, 'agent_id')} * 3600", "{{agent_id}}")],
            "currencyUSD",
            stacked=True,
        ),
        timeseries(
            "Error rate by agent",
            [
                prom(
                    f"{total('llm_errors_total', AGENT_MODEL, 'agent_id')} / {total(requests, AGENT_MODEL, 'agent_id')}",
                    "{{agent_id}}",
                )
            ],
            "percentunit",
            "error_rate",
        ),
        timeseries(
            "Latency p95 by agent",
            [prom(quantile(0.95, "llm_request_duration_seconds", AGENT_MODEL, "agent_id"), "{{agent_id}}")],
            "s",
            "latency_p95",
            scale=0.001,
        ),
        timeseries("Active sessions by agent", [prom(f"llm_active_sessions{{{AGENT}}}", "{{agent_id}}")]),
        timeseries(
            "Cost an hour by tenant",
            [prom(f"{total('llm_cost_usd_total', ALL, 'tenant_id')} * 3600", "{{tenant_id}}")],
            "currencyUSD",
            stacked=True,
        ),
        table(
            "Errors by type",
            [prom(total("llm_errors_total", AGENT_MODEL, "error_type, agent_id", "$__range", "increase"), instant=True)],
            12,
        ),
        table(
            "Cost by tenant and model",
            [prom(total("llm_cost_usd_total", ALL, "tenant_id, model", "$__range", "increase"), instant=True)],
            12,
        ),
    ]


def tokens_driftline():
    return [
        stat("Tokens read", [ask("tokens_over_time", "prompt_tokens")], calc="sum", width=6),
        stat("Tokens written", [ask("tokens_over_time", "completion_tokens")], calc="sum", width=6),
        stat("Cost", [ask("cost_over_time", "cost_usd")], "currencyUSD", calc="sum", width=6),
        stat("Calls without a known cost", [ask("cost_over_time", "calls_without_cost")], calc="sum", width=6),
        timeseries("Tokens by kind", [ask("tokens_over_time", "prompt_tokens,completion_tokens,cache_read_tokens,reasoning_tokens")]),
        timeseries("Tokens by model", [ask("tokens_over_time", "total_tokens", "model")], stacked=True, bars=True),
        timeseries("Tokens read by a call", [kpi("input_tokens", "agent_id")], "short", "input_tokens"),
        timeseries("Tokens written by a call", [kpi("output_tokens", "agent_id")], "short", "output_tokens"),
        timeseries("Cost by model", [ask("cost_over_time", "cost_usd", "model")], "currencyUSD", stacked=True, bars=True),
        timeseries("Cost by tenant", [ask("cost_over_time", "cost_usd", "tenant_id")], "currencyUSD", stacked=True, bars=True),
        timeseries("Cost of a call by agent", [kpi("cost_per_call", "agent_id")], "currencyUSD", "cost_per_call"),
        timeseries("Written against read", [kpi("token_efficiency", "agent_id")], "percentunit", "token_efficiency"),
        timeseries("Day against the mean of the 7 before", [kpi("cost_baseline_ratio", "agent_id")], "percentunit", "cost_baseline_ratio"),
        timeseries("Cost of a conversation", [kpi("cost_per_session", "agent_id")], "currencyUSD", "cost_per_session"),
        table("Token use by model and day", [ask("token_usage_by_model_daily")], 12),
        table("Conversations that cost the most", [ask("top_sessions_by_cost", limit="20")], 12),
        table("Reported cost against the price list", [ask("cost_reconciliation_by_model_daily")]),
    ]


def tokens_prometheus():
    tokens = lambda kind: ALL + f',token_type="{kind}"'
    per_call = lambda kind: (
        f"{total('llm_tokens_total', tokens(kind), 'agent_id')} / {total('llm_requests_total', ALL, 'agent_id')}"
    )
    return [
        stat("Tokens read", [prom(total("llm_tokens_total", tokens("input"), "", "$__range", "increase"))], width=6),
        stat("Tokens written", [prom(total("llm_tokens_total", tokens("output"), "", "$__range", "increase"))], width=6),
        stat("Cost", [prom(total("llm_cost_usd_total", ALL, "", "$__range", "increase"))], "currencyUSD", width=6),
        stat(
            "Cost of a call",
            [
                prom(
                    f"{total('llm_cost_usd_total', ALL, '', '$__range', 'increase')}"
                    f" / {total('llm_requests_total', ALL, '', '$__range', 'increase')}"
                )
            ],
            "currencyUSD",
            "cost_per_call",
            width=6,
        ),
        timeseries("Tokens a second by kind", [prom(total("llm_tokens_total", ALL, "token_type"), "{{token_type}}")], stacked=True),
        timeseries("Tokens a second by model", [prom(total("llm_tokens_total", ALL, "model"), "{{model}}")], stacked=True),
        timeseries("Tokens read by a call", [prom(per_call("input"), "{{agent_id}}")], "short", "input_tokens"),
        timeseries("Tokens written by a call", [prom(per_call("output"), "{{agent_id}}")], "short", "output_tokens"),
        timeseries(
            "Cost an hour by model",
            [prom(f"{total('llm_cost_usd_total', ALL, 'model')} * 3600", "{{model}}")],
            "currencyUSD",
            stacked=True,
        ),
        timeseries(
            "Cost an hour by tenant",
            [prom(f"{total('llm_cost_usd_total', ALL, 'tenant_id')} * 3600", "{{tenant_id}}")],
            "currencyUSD",
            stacked=True,
        ),
        timeseries(
            "Cost of a call by agent",
            [
                prom(
                    f"{total('llm_cost_usd_total', ALL, 'agent_id')} / {total('llm_requests_total', ALL, 'agent_id')}",
                    "{{agent_id}}",
                )
            ],
            "currencyUSD",
            "cost_per_call",
        ),
        timeseries(
            "Written against read",
            [
                prom(
                    f"{total('llm_tokens_total', tokens('output'), 'agent_id')}"
                    f" / {total('llm_tokens_total', tokens('input'), 'agent_id')}",
                    "{{agent_id}}",
                )
            ],
            "percentunit",
            "token_efficiency",
        ),
        timeseries(
            "Tokens of 24 hours against the tenant's quota",
            [
                prom(
                    'sum by (tenant_id) (increase(llm_tokens_total{tenant_id=~"$tenant"}[24h]))'
                    ' / on (tenant_id) llm_token_daily_quota{tenant_id=~"$tenant"}',
                    "{{tenant_id}}",
                )
            ],
            "percentunit",
            width=24,
            description="Only tenants that have a quota in the settings.",
        ),
    ]


def quality_driftline():
    return [
        stat("Hallucination rate", [kpi("hallucination_rate")], "percentunit", "hallucination_rate"),
        stat("Groundedness", [kpi("groundedness")], "percentunit", "groundedness"),
        stat("Tasks done", [kpi("task_completion")], "percentunit", "task_completion"),
        stat("Handed to a person", [kpi("escalation_rate")], "percentunit", "escalation_rate"),
        stat("Satisfaction", [kpi("user_satisfaction")], "percentunit", "user_satisfaction"),
        stat("Guardrail blocks", [kpi("guardrail_block_rate")], "percentunit", "guardrail_block_rate"),
        timeseries(
            "Hallucination rate by agent", [ask("quality_over_time", "hallucination_rate", "agent_id")], "percentunit", "hallucination_rate"
        ),
        timeseries("Groundedness by agent", [ask("quality_over_time", "groundedness", "agent_id")], "percentunit", "groundedness"),
        timeseries("Tasks done by agent", [ask("quality_over_time", "task_completion", "agent_id")], "percentunit", "task_completion"),
        timeseries("Satisfaction by agent", [ask("quality_over_time", "user_satisfaction", "agent_id")], "percentunit", "user_satisfaction"),
        timeseries("Relevance by agent", [ask("quality_over_time", "relevance", "agent_id")], "percentunit"),
        timeseries(
            "Guardrail blocks by agent", [ask("quality_over_time", "guardrail_block_rate", "agent_id")], "percentunit", "guardrail_block_rate"
        ),
        timeseries("Hallucination rate by model", [ask("quality_over_time", "hallucination_rate", "model")], "percentunit", "hallucination_rate"),
        timeseries("Handed to a person by agent", [ask("quality_over_time", "escalation_rate", "agent_id")], "percentunit", "escalation_rate"),
        table("Decisions of the guardrails", [ask("guardrail_decisions")], 12),
        table("Quality by agent and day", [ask("quality_by_agent_daily", format="table")], 12),
        table("Answers that are most likely made up", [ask("likely_hallucinations", limit="50")]),
    ]


def quality_prometheus():
    score = "llm_hallucination_score"
    gauge = lambda name: [prom(f"{name}{{{AGENT}}}", "{{agent_id}}")]
    blocked = AGENT + ',decision="block"'
    return [
        stat("Hallucination score", [prom(mean(score, AGENT, window="$__range"))], "percentunit", "hallucination_rate", width=6),
        stat("Tasks done", [prom(over_agents("llm_task_completion_ratio"))], "percentunit", "task_completion", width=6,
             description="All agents together, each by its number of calls, of the past hour."),
        stat("Handed to a person", [prom(over_agents("llm_escalation_ratio"))], "percentunit", "escalation_rate", width=6,
             description="All agents together, each by its number of calls, of the past hour."),
        stat("Guardrail blocks", [prom(over_agents("llm_guardrail_block_ratio"))], "percentunit", "guardrail_block_rate", width=6,
             description="All agents together, each by its number of calls, of the past hour."),
        timeseries("Hallucination score by agent", [prom(mean(score, AGENT, "agent_id"), "{{agent_id}}")], "percentunit", "hallucination_rate"),
        timeseries("Hallucination score p90 by agent", [prom(quantile(0.9, score, AGENT, "agent_id"), "{{agent_id}}")], "percentunit"),
        timeseries("Tasks done by agent", gauge("llm_task_completion_ratio"), "percentunit", "task_completion"),
        timeseries("Handed to a person by agent", gauge("llm_escalation_ratio"), "percentunit", "escalation_rate"),
        timeseries("Groundedness by agent", gauge("llm_groundedness_ratio"), "percentunit", "groundedness"),
        timeseries("Satisfaction by agent", gauge("llm_user_satisfaction_ratio"), "percentunit", "user_satisfaction"),
        timeseries("Guardrail blocks by agent", gauge("llm_guardrail_block_ratio"), "percentunit", "guardrail_block_rate"),
        timeseries(
            "Decisions of the guardrails", [prom(total("llm_guardrail_decisions_total", AGENT, "decision"), "{{decision}}")], "reqps", stacked=True
        ),
        table(
            "Reasons of blocks",
            [prom(total("llm_guardrail_decisions_total", blocked, "agent_id, reason", "$__range", "increase"), instant=True)],
        ),
    ]


def health_driftline():
    return [
        stat("Availability", [kpi("availability", grain="hour")], "percentunit", "availability"),
        stat("Error rate", [kpi("error_rate", grain="hour")], "percentunit", "error_rate"),
        stat("Timeouts", [kpi("timeout_rate", grain="hour")], "percentunit", "timeout_rate"),
        stat("Retries", [kpi("retry_rate", grain="hour")], "percentunit", "retry_rate"),
        stat("First token p95", [kpi("ttft_p95", grain="hour")], "ms", "ttft_p95"),
        stat("Tool failures", [kpi("tool_failure_rate", grain="hour")], "percentunit", "tool_failure_rate"),
        timeseries("Latency", [ask("latency_over_time", "latency_p50_ms,latency_p95_ms,latency_p99_ms")], "ms", "latency_p95"),
        timeseries("First token", [ask("latency_over_time", "ttft_p50_ms,ttft_p95_ms,ttft_p99_ms")], "ms", "ttft_p95"),
        timeseries("Latency p95 by agent", [ask("latency_over_time", "latency_p95_ms", "agent_id")], "ms", "latency_p95"),
        timeseries("Latency p95 by model", [ask("latency_over_time", "latency_p95_ms", "model")], "ms", "latency_p95"),
        timeseries("Errors", [ask("traffic_over_time", "errors,timeouts,rate_limited,retries")], bars=True),
        timeseries("Waiting in the queue p95", [ask("latency_over_time", "queue_wait_p95_ms", "agent_id")], "ms", "queue_wait_p95"),
        timeseries("Tool failures by tool", [ask("tools_over_time", "failure_rate", "tool")], "percentunit", "tool_failure_rate"),
        timeseries("Tool latency p95 by tool", [ask("tools_over_time", "latency_p95_ms", "tool")], "ms", "tool_latency_p95"),
        timeseries("Calls that meet an open breaker", [ask("circuit_breaker_rate", by="agent_id")], "percentunit"),
        timeseries("Contexts that overflow", [ask("context_overflow_rate", by="agent_id")], "percentunit", "context_overflow_rate"),
        table("Outages", [ask("outages", limit="50")], 12),
        table("Tools that fail", [ask("failed_tool_calls", limit="50")], 12),
        table("Slow calls", [ask("slow_requests", limit="50")]),
    ]


def health_prometheus():
    duration, ttft, tool = "llm_request_duration_seconds", "llm_ttft_seconds", "llm_tool_latency_seconds"
    gauge = lambda name: [prom(f"{name}{{{AGENT}}}", "{{agent_id}}")]
    three = lambda family, labels: [prom(quantile(q, family, labels), f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)]
    own = lambda expr, legend="": [prom(expr, legend)]
    return [
        stat("Error rate", own(over_agents("llm_error_ratio")), "percentunit", "error_rate",
             description="All agents together, each by its number of calls, of the past hour."),
        stat("Timeouts", own(over_agents("llm_timeout_ratio")), "percentunit", "timeout_rate",
             description="All agents together, each by its number of calls, of the past hour."),
        stat("Retries", own(over_agents("llm_retry_ratio")), "percentunit", "retry_rate",
             description="All agents together, each by its number of calls, of the past hour."),
        stat("First token p95", own(quantile(0.95, ttft, AGENT_MODEL, window="1h")), "s", "ttft_p95", scale=0.001),
        stat("Tool failures", own(over_agents("llm_tool_failure_ratio")), "percentunit", "tool_failure_rate",
             description="All agents together, each by its number of calls, of the past hour."),
        stat("Open breakers", own(f"count(llm_circuit_breaker_state{{{AGENT}}} == 2) or vector(0)")),
        timeseries("Latency", three(duration, AGENT_MODEL), "s", "latency_p95", scale=0.001),
        timeseries("First token", three(ttft, AGENT_MODEL), "s", "ttft_p95", scale=0.001),
        timeseries("Latency p95 by model", own(quantile(0.95, duration, AGENT_MODEL, "model"), "{{model}}"), "s", "latency_p95", scale=0.001),
        timeseries("Errors by type", own(total("llm_errors_total", AGENT_MODEL, "error_type"), "{{error_type}}"), "reqps", stacked=True),
        timeseries("Timeouts by agent", gauge("llm_timeout_ratio"), "percentunit", "timeout_rate"),
        timeseries("Contexts that overflow", gauge("llm_context_overflow_ratio"), "percentunit", "context_overflow_rate"),
        timeseries("Tool failures by agent", gauge("llm_tool_failure_ratio"), "percentunit", "tool_failure_rate"),
        timeseries("Tool latency p95 by tool", own(quantile(0.95, tool, AGENT, "tool"), "{{tool}}"), "s", "tool_latency_p95", scale=0.001),
        timeseries("Breakers: 0 closed, 1 half open, 2 open", gauge("llm_circuit_breaker_state")),
        timeseries("Records that arrive at Driftline", own("sum by (outcome) (rate(driftline_ingest_records_total[$__rate_interval]))", "{{outcome}}"), "cps"),
        timeseries("Records that wait for their commit", own("driftline_buffered_records", "{{instance}}")),
        timeseries(
            "Driftline's own trouble",
            own("driftline_wal_failed", "log")
            + own("driftline_flush_failed", "flush")
            + own("driftline_maintenance_failed", "maintenance"),
        ),
    ]


BUSINESS = [
    "task_completion", "user_satisfaction", "escalation_rate", "hallucination_rate", "availability", "error_rate",
    "cost_per_resolved_task", "cost_per_session", "cost_per_call", "return_on_cost", "turns_per_session", "time_to_recover",
]  # fmt: skip


def business_driftline():
    title = lambda name: name.replace("_", " ").capitalize()
    return (
        [stat(title(name), [kpi(name)], KPIS[name].unit, name) for name in BUSINESS]
        + [
            timeseries("Active people", [kpi("active_users")], bars=True),
            timeseries("Conversations", [kpi("active_sessions")], bars=True),
            timeseries("Cost by tenant", [kpi("cost", "tenant_id")], "currencyUSD", stacked=True, bars=True),
            timeseries("Cost of a task that was done", [kpi("cost_per_resolved_task", "agent_id")], "currencyUSD", "cost_per_resolved_task"),
            timeseries("Tasks done by agent", [kpi("task_completion", "agent_id")], "percentunit", "task_completion"),
            timeseries("Return on cost by agent", [kpi("return_on_cost", "agent_id")], "percentunit", "return_on_cost",
                       description="Only agents whose tasks have a value in the settings."),
            table("Score card of the month in which the range ends", [ask("kpi_card")], height=16),
        ]
    )  # fmt: skip


def business_prometheus():
    gauge = lambda name: [prom(over_agents(name))]
    by_agent = lambda name: [prom(f"{name}{{{AGENT}}}", "{{agent_id}}")]
    cost, requests = "llm_cost_usd_total", "llm_requests_total"
    hour = "All agents together, each by its number of calls, of the past hour."
    return [
        stat("Tasks done", gauge("llm_task_completion_ratio"), "percentunit", "task_completion", description=hour),
        stat("Escalations", gauge("llm_escalation_ratio"), "percentunit", "escalation_rate", description=hour),
        stat("Error rate", gauge("llm_error_ratio"), "percentunit", "error_rate", description=hour),
        stat("Cost of 24 hours", [prom(total(cost, ALL, "", "24h", "increase"))], "currencyUSD"),
        stat(
            "Cost of a call",
            [prom(f"{total(cost, ALL, '', '24h', 'increase')} / {total(requests, ALL, '', '24h', 'increase')}")],
            "currencyUSD",
            "cost_per_call",
        ),
        stat(
            "24 hours against the 24 before",
            [prom(f"sum(increase({cost}{{{ALL}}}[24h])) / sum(increase({cost}{{{ALL}}}[24h] offset 24h))")],
            "percentunit",
            "cost_baseline_ratio",
        ),
        timeseries("Tasks done by agent", by_agent("llm_task_completion_ratio"), "percentunit", "task_completion"),
        timeseries("Escalations by agent", by_agent("llm_escalation_ratio"), "percentunit", "escalation_rate"),
        timeseries("Cost of a task that was done", by_agent("llm_cost_per_resolved_task_usd"), "currencyUSD", "cost_per_resolved_task",
                   description="Of the past 24 hours."),
        timeseries("Return on cost by agent", by_agent("llm_return_on_cost_ratio"), "percentunit", "return_on_cost",
                   description="Of the past 24 hours; only agents whose tasks have a value in the settings."),
        timeseries(
            "Cost of a day by tenant", [prom(total(cost, ALL, "tenant_id", "24h", "increase"), "{{tenant_id}}")], "currencyUSD", stacked=True
        ),
        timeseries(
            "Cost of a day by agent", [prom(total(cost, ALL, "agent_id", "24h", "increase"), "{{agent_id}}")], "currencyUSD", stacked=True
        ),
        timeseries("Active sessions", [prom(f"sum(llm_active_sessions{{{AGENT}}})", "sessions")]),
        timeseries("Calls of a day by tenant", [prom(total(requests, ALL, "tenant_id", "24h", "increase"), "{{tenant_id}}")], stacked=True),
        timeseries(
            "Error budgets: what is left",
            [prom('llm_slo_error_budget_left_ratio{tenant_id=~"$tenant|"}', "{{slo}} {{tenant_id}}")],
            "percentunit",
            description="Of each objective of the settings; below 0 it is missed.",
        ),
        timeseries(
            "Burn rate of the past hour",
            [prom('llm_slo_burn_rate{tenant_id=~"$tenant|",window="1h"}', "{{slo}} {{tenant_id}}")],
            description="1 uses the error budget up by the end of its window, 14.4 a 30-day budget within 50 hours.",
        ),
    ]


DRIFT_COLUMNS = [
    ("latency_ms", "Latency"), ("ttft_ms", "First token"), ("prompt_tokens", "Tokens read"),
    ("completion_tokens", "Tokens written"), ("cost", "Cost"),
    ("hallucination_probability", "Hallucination probability"), ("groundedness", "Groundedness"),
    ("finish_reason", "Why models stop"), ("error_type", "Kinds of errors"), ("guardrail_status", "Guardrail decisions"),
]  # fmt: skip


def drift_driftline():
    said = "The range against the days before it, agent by agent; corrected for the number of agents."
    verdicts = [
        table(
            f"{title} ({column})",
            [
                {
                    "target": "drift",
                    "editorMode": "builder",
                    "payload": {
                        "column": column,
                        "group_by": "agent_id",
                        "reference_days": "$reference_days",
                        "tenant_id": "$tenant",
                        "agent_id": "$agent",
                        "model": "$model",
                        "verdict": "all",
                        "values": "group,verdict,effect_size,p_value_adjusted,n_reference,n_current",
                    },
                }
            ],
            12,
            description=said,
        )
        for column, title in DRIFT_COLUMNS
    ]
    return [
        timeseries("Latency p50 by agent", [ask("latency_over_time", "latency_p50_ms", "agent_id")], "ms"),
        timeseries("Tokens written by a call", [ask("tokens_over_time", "completion_tokens_mean", "agent_id")]),
        table("Drift and anomalies that the hourly jobs found", [ask("annotations", limit="100")]),
        *verdicts,
    ]


def drift_prometheus():
    ago = "7d"
    duration, score = "llm_request_duration_seconds", "llm_hallucination_score"
    ratio = lambda now, then: [prom(f"({now}) / ({then})", "{{agent_id}}")]
    per_call = lambda shift: (
        f'sum by (agent_id) (rate(llm_tokens_total{{{ALL},token_type="output"}}[1d]{shift}))'
        f" / sum by (agent_id) (rate(llm_requests_total{{{ALL}}}[1d]{shift}))"
    )
    said = "1 is as a week before. A ratio is no test: the verdicts are on the dashboard of the other datasource."
    return [
        timeseries(
            "Latency p50 against a week before",
            ratio(quantile(0.5, duration, AGENT_MODEL, "agent_id", "1d"), quantile(0.5, duration, AGENT_MODEL, "agent_id", "1d", ago)),
            "percentunit",
            description=said,
        ),
        timeseries(
            "Latency p95 against a week before",
            ratio(quantile(0.95, duration, AGENT_MODEL, "agent_id", "1d"), quantile(0.95, duration, AGENT_MODEL, "agent_id", "1d", ago)),
            "percentunit",
            description=said,
        ),
        timeseries("Tokens written by a call against a week before", ratio(per_call(""), per_call(f" offset {ago}")), "percentunit", description=said),
        timeseries(
            "Hallucination score against a week before",
            ratio(mean(score, AGENT, "agent_id", "1d"), mean(score, AGENT, "agent_id", "1d", ago)),
            "percentunit",
            description=said,
        ),
        timeseries(
            "Guardrail blocks against a week before",
            ratio(
                f'sum by (agent_id) (rate(llm_guardrail_decisions_total{{{AGENT},decision="block"}}[1d]))',
                f'sum by (agent_id) (rate(llm_guardrail_decisions_total{{{AGENT},decision="block"}}[1d] offset {ago}))',
            ),
            "percentunit",
            description=said,
        ),
        timeseries(
            "Errors against a week before",
            ratio(
                f"sum by (agent_id) (rate(llm_errors_total{{{AGENT_MODEL}}}[1d]))",
                f"sum by (agent_id) (rate(llm_errors_total{{{AGENT_MODEL}}}[1d] offset {ago}))",
            ),
            "percentunit",
            description=said,
        ),
        timeseries(
            "Verdicts of drift: effect of what drifts",
            [prom("llm_drift_effect_size", "{{column_name}} of {{slice_by}} {{slice}}")],
            description="The last hourly run, over all columns and slices; what does not drift has no line.",
        ),
        timeseries(
            "Anomalies: score of what is odd",
            [prom("llm_anomaly_score", "{{kpi}} of {{slice_by}} {{slice}}")],
            description="The last hour that was judged, from 0 to 1; what is as expected has no line.",
        ),
        timeseries(
            "Anomalies: sessions and calls that are odd by themselves",
            [prom("llm_anomaly_events", "{{kpi}} of {{slice}}")],
            description="Those of the last hour that was judged, at most 20 of a kind; the query of that name says which.",
        ),
    ]


# ---------------------------------------------------------------- frames around them


def variable(name, label, query, datasource):
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": datasource,
        "definition": query["query"],
        "query": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    }


def variables_driftline(name):
    own = [
        variable("tenant", "Tenant", {"query": "tenant_id", "format": "string"}, DRIFTLINE),
        variable("agent", "Agent", {"query": "agent_id where tenant_id = $tenant", "format": "string"}, DRIFTLINE),
        variable("model", "Model", {"query": "model where tenant_id = $tenant", "format": "string"}, DRIFTLINE),
        {"type": "adhoc", "name": "filters", "label": "Filters", "datasource": DRIFTLINE, "filters": [], "hide": 0, "skipUrlSync": False},
    ]
    if name == "drift":
        days = ["1", "3", "7", "14", "28"]
        own.append(
            {
                "type": "custom",
                "name": "reference_days",
                "label": "Days before",
                "query": ",".join(days),
                "multi": False,
                "includeAll": False,
                "current": {"selected": True, "text": "7", "value": "7"},
                "options": [{"selected": day == "7", "text": day, "value": day} for day in days],
                "hide": 0,
                "skipUrlSync": False,
            }
        )
    return own


def variables_prometheus():
    label = lambda name: {"query": f"label_values(llm_requests_total, {name})", "refId": f"variable-{name}"}
    return [
        variable("tenant", "Tenant", label("tenant_id"), PROMETHEUS),
        variable("agent", "Agent", label("agent_id"), PROMETHEUS),
        variable("model", "Model", label("model"), PROMETHEUS),
    ]


def annotation(name, color, target, datasource, mappings=None, enable=True):
    target = {"refId": name, "datasource": datasource, **target}
    one = {"name": name, "datasource": datasource, "enable": enable, "hide": False, "iconColor": color, "target": target}
    return {**one, "mappings": mappings} if mappings else one


def fields(**columns):
    return {part: {"source": "field", "value": column} for part, column in columns.items()}


def annotations_driftline(name):
    outages = annotation(
        "Outages",
        "red",
        ask("outages"),
        DRIFTLINE,
        {**fields(time="began", timeEnd="ended"), "title": {"source": "text", "value": "Outage"}, **fields(text="agent_id")},
    )
    alerts = annotation(
        "KPI alerts", "orange", ask("kpi_alerts", kpi="error_rate,latency_p95,hallucination_rate,cost_baseline_ratio"), DRIFTLINE
    )
    drift = annotation(
        "Drift of latency", "purple", {"target": "drift", "editorMode": "builder", "payload": {"column": "latency_ms", "group_by": "agent_id", "tenant_id": "$tenant", "agent_id": "$agent", "model": "$model"}}, DRIFTLINE
    )
    # What the hourly jobs found and kept.
    found = annotation(
        "Drift and anomalies",
        "purple",
        ask("annotations"),
        DRIFTLINE,
        fields(time="began", timeEnd="ended", title="title", text="text", tags="tags"),
    )
    own = {"overview": [alerts, outages], "agent-health": [outages], "quality": [alerts], "drift": [drift]}.get(name, [])
    return [*own, found]


def annotations_prometheus():
    alerts = {"expr": 'ALERTS{alertname=~"Llm.*",alertstate="firing"}', "editorMode": "code"}
    one = annotation("Alerts", "orange", alerts, PROMETHEUS)
    return [{**one, "titleFormat": "{{alertname}}", "textFormat": "{{agent_id}} {{tenant_id}}", "step": "60s", "expr": alerts["expr"]}]


DASHBOARDS = [
    ("overview", "Overview", "now-24h", overview_driftline, overview_prometheus),
    ("token-economy", "Token Economy", "now-7d", tokens_driftline, tokens_prometheus),
    ("quality", "Quality", "now-24h", quality_driftline, quality_prometheus),
    ("agent-health", "Agent Health", "now-24h", health_driftline, health_prometheus),
    ("business-kpi", "Business KPI", "now-30d", business_driftline, business_prometheus),
    ("drift", "Drift", "now-24h", drift_driftline, drift_prometheus),
]


def dashboard(variant, name, title, since, panels):
    is_own = variant == "driftline"
    datasource = DRIFTLINE if is_own else PROMETHEUS
    built_in = {
        "builtIn": 1,
        "datasource": BUILT_IN,
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }
    own = annotations_driftline(name) if is_own else annotations_prometheus()
    link = {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["driftline", variant],
        "targetBlank": False,
        "title": "Driftline",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }
    return {
        "id": None,
        "uid": f"driftline-{name}" if is_own else f"driftline-{name}-prometheus",
        "title": f"Driftline: {title}" if is_own else f"Driftline: {title} (Prometheus)",
        "description": "",
        "tags": ["driftline", variant],
        "schemaVersion": 42,
        "version": 1,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [link],
        "liveNow": False,
        "preload": False,
        "refresh": "1m",
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "utc",
        "weekStart": "",
        "annotations": {"list": [built_in, *own]},
        "templating": {"list": variables_driftline(name) if is_own else variables_prometheus()},
        "panels": placed(panels, datasource),
    }


def main():
    is_check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not is_check:
        sys.exit(__doc__)
    wanted = {}
    for name, title, since, driftline, prometheus in DASHBOARDS:
        for variant, panels in (("driftline", driftline), ("prometheus", prometheus)):
            made = dashboard(variant, name, title, since, panels())
            wanted[TARGET / variant / f"{name}.json"] = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    there = {path for variant in ("driftline", "prometheus") for path in (TARGET / variant).glob("*.json")}
    if is_check:
        wrong = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
        wrong += sorted(there - wanted.keys())
        for path in wrong:
            print(f"{path.relative_to(ROOT)} is not what {pathlib.Path(__file__).relative_to(ROOT)} makes")
        sys.exit(bool(wrong))
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


main()
