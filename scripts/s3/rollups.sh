# shellcheck shell=bash
# Answers from rollups and answers from the calls are the same, while the store fails and when rollups are lost.
# Sourced by check-s3.sh.

ROLLED_UP_SECONDS_MAX=120
# Four rollups by hour and by day, and three by hour alone.
ROLLUPS_A_FILE=11
ROLLUP_QUERIES=(cost_by_agent_daily cost_by_model_hourly cost_by_tenant_daily token_usage_by_model_daily
  error_rate_by_agent_hourly quality_by_agent_daily guardrail_decisions)
BY_DAY="select date_trunc('day', timestamp) as day, model, count(*) as calls, sum(prompt_tokens) as tokens,
  sum(cost) as usd, max(latency_ms) as slowest from agent_logs group by 1, 2 order by 1, 2"

# Each data file has all of its rollups, and no others are there.
rolled_up() {
  local files derived
  files=$(objects count "$BUCKET/$PLACE/agent_logs/date=")
  derived=$(objects count "$BUCKET/$PLACE/agent_logs/_derived/")
  ((files > 0 && derived == files * ROLLUPS_A_FILE))
}

# same_answers QUERY: the last digits of sums of floating-point numbers may differ.
same_answers() {
  local rollups
  for rollups in on off; do
    fetch "$URL/api/v1/queries/$1?from=$FIRST_DAY&rollups=$rollups" >"$WORK/rollups-$rollups" || return
  done
  python3 - "$WORK/rollups-on" "$WORK/rollups-off" <<'PYTHON'
import json, math, sys

def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-11, abs_tol=1e-12)
    return a == b

rows = [json.load(open(file)) for file in sys.argv[1:]]
rows = [answer.get("rows", answer) if isinstance(answer, dict) else answer for answer in rows]
keys = lambda row: [value for value in row.values() if not isinstance(value, float)]
on, off = (sorted(answer, key=lambda row: json.dumps(keys(row))) for answer in rows)
equal = len(on) == len(off) > 0 and all(
    a.keys() == b.keys() and all(same(a[name], b[name]) for name in a) for a, b in zip(on, off))
sys.exit(not equal)
PYTHON
}

check_same_answers() {
  local query
  for query in "${ROLLUP_QUERIES[@]}"; do
    check_true "$query: the same with rollups and without" same_answers "$query"
  done
}

uses_rollups() {
  sql "explain $BY_DAY" 2>/dev/null | grep -q rollup_calls_day
}

check_rollups() {
  local part bytes
  echo "rollups: made under a fault"
  begin rollups
  FIRST_DAY=$(days_ago 6)
  export DRIFTLINE_ROLLUP_INTERVAL_S=1 DRIFTLINE_LIFECYCLE_INTERVAL_S=0
  set_fault '{"mode": "lost_answer", "share": 0.2}'
  start_under '{"mode": "lost_answer", "share": 0.2}' "$DATA"
  generate "$WORK/rollups.ndjson" "$FIRST_DAY" 4 $((RECORDS / 4))
  # Three at least, and none beyond what a batch may have.
  bytes=$(stat --format %s "$WORK/rollups.ndjson")
  split -n "r/$((3 + bytes / (32 << 20)))" -d "$WORK/rollups.ndjson" "$WORK/rollups-part-"
  for part in "$WORK/rollups-part-"*; do
    commit_file "$part"
    rm "$part"
    # With rollups of some files, under the fault.
    echo "      of some files, $(objects count "$BUCKET/$PLACE/agent_logs/_derived/") rollups"
    check_true "cost_by_agent_daily: the same with rollups and without" same_answers cost_by_agent_daily
  done
  check_true "each file gets its rollups" within "$ROLLED_UP_SECONDS_MAX" rolled_up
  check_true "rollups are used" uses_rollups
  check_same_answers
  check_hits
  kill_server
  lift_fault

  echo "rollups: half of them lost"
  echo "      $(objects delete "$BUCKET/$PLACE/agent_logs/_derived/") deleted"
  set_fault '{"mode": "status", "status": 503, "share": 0.3}'
  start_under '{"mode": "status", "status": 503, "share": 0.3}' "$DATA"
  check_same_answers
  check_true "they are made again" within "$ROLLED_UP_SECONDS_MAX" rolled_up
  check_same_answers
  check_hits
  lift_fault
  stop_server
  unset DRIFTLINE_ROLLUP_INTERVAL_S DRIFTLINE_LIFECYCLE_INTERVAL_S
}
