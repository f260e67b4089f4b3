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
FINAL_TRIES_MAX=5
RANDOM=$SEED

FILE=$WORK/load.ndjson
"$BINARY" generate --seed "$SEED" --start 2026-05-01T00:00:00Z --days 10 --rate $((RECORDS / 10)) -o "$FILE"
read -r -a SUMS < <(python3 "$ROOT/scripts/record_sums.py" "$FILE")
LINES=${SUMS[0]}
echo "seed $SEED, $LINES records, $KILLS kills"
check "the file's own different requests" "$LINES" "${SUMS[1]}"

killed_midway=0
for ((kill = 1; kill <= KILLS; kill++)); do
  export DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS=$((RANDOM % 2 ? 100 : 60000))
  start_server "$WORK/data"
  before=$(received)
  # From 5 % to 84 % of the file, so that the rest is still to come.
  after=$((LINES * (5 + RANDOM % 80) / 100))
  start_loader "$FILE"
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
  start_loader "$FILE"
  if loader_status "$LOADER_SECONDS_MAX"; then
    loaded=yes
    break
  fi
done
check "the load ends well" yes "$loaded"
echo "with all that waits"
check_rows "${SUMS[@]}"
stop_server

echo "after a restart, from committed files"
start_server "$WORK/data"
check_rows "${SUMS[@]}"
kill_server
echo "after a kill without any load"
start_server "$WORK/data"
check_rows "${SUMS[@]}"
stop_server
finish
