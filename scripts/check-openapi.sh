#!/usr/bin/env bash
# Does the server do what its description says, whatever is sent?
#
# usage: scripts/check-openapi.sh
#
# Starts a server on generated data and lets Schemathesis send it what /openapi.json allows and what it forbids: with a
# key of all tenants, then with one that is bound to a tenant. Every answer has a status, a content type, headers and a
# shape that are described, none is a 5xx but a 503 that is, what breaks the description is refused, and no route but
# the probes answers without a key. openapi-spec-validator reads the document. Requests are the same each time.
#
# $EXAMPLES: cases per operation and kind [30]. $SCHEMATHESIS: an environment of Python that has both programs already;
# without it they are installed from PyPI into a directory that goes; where they cannot be had, the check is skipped.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

EXAMPLES=${EXAMPLES:-30}
SCHEMATHESIS_VERSION=4.32.5
VALIDATOR_VERSION=0.9.0
SEED=20261123
RUN_SECONDS_MAX=1200
TENANT=tenant-finance-002

# Sets PYTHON_BIN to a directory with st and openapi-spec-validator.
find_schemathesis() {
  if [[ -n ${SCHEMATHESIS:-} ]]; then
    PYTHON_BIN=$SCHEMATHESIS/bin
    return
  fi
  python3 -m venv "$WORK/venv" >"$WORK/venv.log" 2>&1 || skip "python3 has no venv"
  PYTHON_BIN=$WORK/venv/bin
  timeout "$INSTALL_SECONDS_MAX" "$PYTHON_BIN/python" -m pip install --quiet --disable-pip-version-check \
    "schemathesis==$SCHEMATHESIS_VERSION" "openapi-spec-validator==$VALIDATOR_VERSION" >"$WORK/pip.log" 2>&1 ||
    skip "schemathesis and openapi-spec-validator cannot be had: $(tail -n 1 "$WORK/pip.log")"
}

# What is no fault: where a client's mistakes are taken on purpose, nothing is refused. And values that chance would not
# come upon: statements, columns, names, and times at the ends of the calendar.
settings() {
  cat <<'TOML'
# Of the statements below none has more rows than an answer may have: a stream that is cut at the bound has no form that
# a description could have.
# All checks but those that need more than one answer, or that call for what is described to be accepted: a statement
# that reads well may still fail. Named on the command line they would hold for the exceptions below as well.
[checks]
positive_data_acceptance.enabled = false
use_after_free.enabled = false
ensure_resource_availability.enabled = false
missing_required_header.enabled = false
object_level_authorization.enabled = false

# Grafana's plugin and clients of Jaeger send more, less and other things than are described; all of it is taken.
[[operations]]
include-tag = ["grafana", "jaeger"]
checks.negative_data_rejection.enabled = false

# A line that is no record is told of in a 200: it fails alone.
[[operations]]
include-operation-id = "logs"
checks.negative_data_rejection.enabled = false

[dictionaries.statements]
values = [
  "select * from agent_logs limit 3", "select * from sessions limit 3", "select * from traces", "select * from tool_calls",
  "select * from rejected_logs", "select count(*) as n, sum(cost) as usd from agent_logs group by model", "show tables",
  "describe agent_logs", "explain select 1", "explain analyze select 1", "show all", "select 1/0", "select $1 as a",
  "select $name as a", "select map {1: 2} as m", "select interval '1 day' as d", "select null as n", "select 1 as a; select 2",
  "select json_get(attributes, 'a') as a from agent_logs", "select 18446744073709551615 as n, 1e308 * 10 as i",
  "select time_bucket_gapfill('1 hour', timestamp) as t, count(*) from agent_logs where timestamp >= now() - interval '1 day' and timestamp < now() group by 1",
  "select * from information_schema.columns", "drop table agent_logs", "select * from nothing", "select 'é', x'ff' as b",
  "select * from generate_series(1, 200000)", "select count(*) as n from generate_series(1, 10000000)",
]
[dictionaries.columns]
values = ["latency_ms", "model", "agent_id", "cost", "attributes", "tool_calls", "timestamp", "is_error", "attributes.region", "date"]
[dictionaries.times]
values = ["now", "now-1d", "today", "2026-05-14", "0", "999999999999999999", "9999-12-31", "0001-01-01", "now-100000000w"]
[dictionaries.ranges]
values = ["now-2d/now-1d", "now-1d/now", "now/now", "0001-01-01/9999-12-31", "0/now", "/", "now"]
[dictionaries.months]
values = ["2026-11", "9999-12", "0001-01", "+262142-12", "-262143-01", "2026-13"]
[dictionaries.days]
values = ["2026-11-22", "9999-12-31", "0001-01-01", "+262142-12-31", "-262143-01-01", "1677-09-21", "2262-04-12"]
[dictionaries.metrics]
values = ["cost_over_time", "error_rate", "kpi_card", "kpi_alerts", "drift", "sql", "rejected_lines", "(a|b)"]
[dictionaries.files]
values = ["index.html", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js", "favicon-32x32.png"]
[dictionaries.ids]
values = ["0000000000000000", "unknown_agent", "rag_agent_v2", "..", "%00"]

[parameters]
"query.q" = { dictionary = "statements", probability = 0.8 }
"body.q" = { dictionary = "statements", probability = 0.8 }
"query.column" = { dictionary = "columns", probability = 0.8 }
"query.by" = { dictionary = "columns", probability = 0.5 }
"query.reference" = { dictionary = "ranges", probability = 0.8 }
"query.current" = { dictionary = "ranges", probability = 0.8 }
"query.from" = { dictionary = "times", probability = 0.8 }
"query.to" = { dictionary = "times", probability = 0.8 }
"query.month" = { dictionary = "months", probability = 0.8 }
"query.day" = { dictionary = "days", probability = 0.8 }
"body.range.from" = { dictionary = "times", probability = 0.8 }
"body.range.to" = { dictionary = "times", probability = 0.8 }
"body.key" = { dictionary = "columns", probability = 0.8 }
"body.metric" = { dictionary = "metrics", probability = 0.8 }
"body.targets[*].target" = { dictionary = "metrics", probability = 0.8 }
"body.payload.target" = { dictionary = "columns", probability = 0.8 }
"body.filters[*].key" = { dictionary = "columns", probability = 0.8 }
"path.file" = { dictionary = "files", probability = 0.6 }
"path.id" = { dictionary = "ids", probability = 0.5 }
"path.service" = { dictionary = "ids", probability = 0.5 }
TOML
}

# key NAME SCOPES [FLAG…]: makes one and prints it.
key() {
  local name=$1 scopes=$2
  shift 2
  "$BINARY" key create --name "$name" --scope "$scopes" --data "$WORK/data" "$@" | grep -o 'dl_[0-9a-f_]*'
}

# fuzz NAME KEY: sends what can be sent. A backup goes wherever its request says, so that is asked for by hand.
fuzz() {
  local name=$1 key=$2 status=0
  timeout "$RUN_SECONDS_MAX" "$PYTHON_BIN/st" --config-file "$WORK/schemathesis.toml" run "$URL/openapi.json" \
    --header "Authorization: Bearer $key" --phases examples,coverage,fuzzing \
    --max-examples "$EXAMPLES" --seed "$SEED" --generation-database none --continue-on-failure --no-shrink \
    --exclude-operation-id backup --suppress-health-check all --warnings off --no-color \
    --request-timeout 60 >"$WORK/$name.log" 2>&1 || status=$?
  if ((status != 0)); then
    sed -n '/FAILURES\|ERRORS/,$p' "$WORK/$name.log" | head -n "${SHOWN_LINES:-400}"
  fi
  tail -n 12 "$WORK/$name.log"
  check "what Schemathesis found $name" 0 "$status"
}

find_schemathesis
settings >"$WORK/schemathesis.toml"
printf '[access]\nrequests_per_second = 0\nstatements_max = 0\n' >"$WORK/driftline.toml"
start=$(date -u -d '-2 days' +%Y-%m-%dT%H:%M:%SZ)
"$BINARY" generate --seed 5 --start "$start" --days 2 --rate 1000 -o "$WORK/calls.ndjson"
start_server "$WORK/data" --config "$WORK/driftline.toml"
"$BINARY" load "$WORK/calls.ndjson" --url "$URL" >"$WORK/load.log" 2>&1 || fail "driftline load: $(tail -n 5 "$WORK/load.log")"
everything=$(key everything ingest,query,admin)
bound=$(key bound ingest,query --tenant "$TENANT")

fetch --header "Authorization: Bearer $everything" "$URL/openapi.json" >"$WORK/openapi.json"
check_true "the document is valid OpenAPI" "$PYTHON_BIN/openapi-spec-validator" "$WORK/openapi.json"
fuzz "with a key of all tenants" "$everything"
fuzz "with a key of one tenant" "$bound"
check "status of a backup" 200 "$(curl --silent --output /dev/null --write-out '%{http_code}' --noproxy '*' \
  --header "Authorization: Bearer $everything" --json "{\"directory\": \"$WORK/backup\"}" "$URL/api/v1/backup")"
check_true "the server still answers" fetch --output /dev/null "$URL/readyz"
grep -E 'ERROR|panicked' -A 3 "$SERVER_LOG" | head -n 40 || true
check "errors and panics in the server's log" 0 "$(grep -cE 'ERROR|panicked' "$SERVER_LOG" || true)"
stop_server
finish
