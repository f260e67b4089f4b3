#!/usr/bin/env bash
# Is every acknowledged record there exactly once after the server was killed in the middle of a load?
#
# usage: scripts/check-kill.sh [SEED] [KILLS] [RECORDS]
# The seed chooses after how many received records each kill comes, and whether the server commits all
# the time or hardly ever, so that kills hit commits as well as a long log to replay. Kills that come
# too late for their load are reported and do not count.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SEED=${1:-1}
KILLS=${2:-6}
RECORDS=${3:-200000}
LOADER_SECONDS_MAX=300
LOADER_GRACE_SECONDS=2
FINAL_TRIES_MAX=5
RANDOM=$SEED

# The server's own count of the records and lines that came in, duplicates included.
received() {
  fetch "$URL/api/v1/status" | json "d['books']['received']"
}

received_or_ended() {
  local now
  ended "$LOADER_PID" && return
  now=$(received 2>/dev/null) && ((now >= $1))
}

start_loader() {
  "$BINARY" load "$FILE" --url "$URL" >"$WORK/load.log" 2>&1 &
  LOADER_PID=$!
  PIDS=("$LOADER_PID")
}

# Waits some seconds for the loader and returns its exit code; one that still tries then is ended.
loader_status() {
  local pid=$LOADER_PID status=0
  within "$1" ended "$pid" || kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || status=$?
  PIDS=()
  return "$status"
}

check_store() {
  check "records" "$LINES" "$(sql_value 'select count(*) as n from agent_logs')"
  check "different requests" "$REQUESTS" "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
  check "prompt tokens" "$TOKENS" "$(sql_value 'select sum(prompt_tokens) as n from agent_logs')"
  check "rejected lines" 0 "$(sql_value 'select count(*) as n from rejected_logs')"
  check_true "cost" near "$COST" "$(sql_value 'select sum(cost_usd) as usd from agent_logs')" 1e-9
}

FILE=$WORK/load.ndjson
"$BINARY" generate --seed "$SEED" --start 2026-05-01T00:00:00Z --days 10 --rate $((RECORDS / 10)) -o "$FILE"
read -r LINES REQUESTS TOKENS COST < <(python3 - "$FILE" <<'PYTHON'
import json, math, sys
requests, tokens, costs = [], 0, []
for line in open(sys.argv[1]):
    record = json.loads(line)
    requests.append(record["request_id"])
    tokens += record.get("prompt_tokens") or 0
    costs.append(record.get("cost_usd") or 0)
print(len(requests), len(set(requests)), tokens, repr(math.fsum(costs)))
PYTHON
)
echo "seed $SEED, $LINES records, $KILLS kills"
check "the file's own different requests" "$LINES" "$REQUESTS"

killed_midway=0
for ((kill = 1; kill <= KILLS; kill++)); do
  export DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS=$((RANDOM % 2 ? 100 : 60000))
  start_server "$WORK/data"
  before=$(received)
  # From 5 % to 84 % of the file, so that the rest is still to come.
  after=$((LINES * (5 + RANDOM % 80) / 100))
  start_loader
  within "$LOADER_SECONDS_MAX" received_or_ended $((before + after)) || fail "the load stands still"
  kill_server
  if loader_status "$LOADER_GRACE_SECONDS"; then
    echo "kill $kill: the load had ended"
  else
    killed_midway=$((killed_midway + 1))
    echo "kill $kill: after at least $after records, committing every $DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS ms"
  fi
done
check_true "kills in the middle of a load: $killed_midway" test "$killed_midway" -gt 0

unset DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS
start_server "$WORK/data"
loaded=no
for ((try = 1; try <= FINAL_TRIES_MAX; try++)); do
  start_loader
  if loader_status "$LOADER_SECONDS_MAX"; then
    loaded=yes
    break
  fi
done
check "the load ends well" yes "$loaded"
echo "with all that waits"
check_store
stop_server

echo "after a restart, from committed files"
start_server "$WORK/data"
check_store
kill_server
echo "after a kill without any load"
start_server "$WORK/data"
check_store
stop_server
finish
