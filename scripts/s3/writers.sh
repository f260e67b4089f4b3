# shellcheck shell=bash
# More than one writer: a second server on the same tables is refused, and a commit of another program costs none
# of ours. Sourced by check-s3.sh.

RACES=6
FOREIGN_SECONDS=15
WRITER_PARTS=12

# A second server that is refused says whose the tables are.
check_refused() {
  local status=0
  timeout 60 "$BINARY" serve --data "$WORK/other" --listen 127.0.0.1:0 >/dev/null 2>"$WORK/refused" || status=$?
  check "exit code of a second server$1" 1 "$status"
  check_true "it says why" grep -q "holds the tables of another data directory" "$WORK/refused"
}

# Servers of new data directories begin with new tables at the same time: one of them has them.
check_race() {
  local race=$1 data pid started
  begin "race-$race"
  for data in "$WORK/race-$race-a" "$WORK/race-$race-b" "$WORK/race-$race-c"; do
    "$BINARY" serve --data "$data" --listen 127.0.0.1:0 >/dev/null 2>"$data.log" &
    PIDS+=("$!")
  done
  all_decided() {
    local log
    for log in "$WORK/race-$race-"*.log; do
      grep -qs "listening on\|another data directory" "$log" || return 1
    done
  }
  within 60 all_decided || fail "not all servers begin or give up: $(tail -n 1 "$WORK/race-$race-"*.log)"
  started=$(cat "$WORK/race-$race-"*.log | grep -c "listening on")
  check "servers that start, of three at once" 1 "$started"
  for pid in "${PIDS[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  PIDS=()
}

# Servers on a directory and on a copy of it: the one that commits first goes on, and takes no batch for its own that
# is the other's.
check_copy() {
  local parts first first_pid copy=$WORK/copy status=0
  begin copied
  generate "$WORK/copied.ndjson" "$(days_ago 3)" 1 2000
  split -n r/4 -d "$WORK/copied.ndjson" "$WORK/copied-"
  parts=("$WORK"/copied-0*)
  start_server "$DATA"
  commit_file "${parts[0]}"
  stop_server
  cp -r "$DATA" "$copy"
  start_server "$DATA"
  first=$URL first_pid=$SERVER_PID
  PIDS=("$first_pid")
  start_server "$copy"
  check "batch that the copy acknowledges" 200 "$(URL=$first commit_file "${parts[1]}"; post "${parts[2]}" | cut -c 1-3)"
  says_why() {
    curl --silent --noproxy '*' "$URL/readyz" | grep -q "another server has committed"
  }
  check_true "the copy does not commit it, and says why" within 60 says_why
  kill_server
  timeout 60 "$BINARY" serve --data "$copy" --listen 127.0.0.1:0 >/dev/null 2>"$WORK/refused" || status=$?
  check "exit code of the copy, started again" 1 "$status"
  check_true "it says why" grep -q "from a copy of" "$WORK/refused"
  URL=$first SERVER_PID=$first_pid PIDS=()
  commit_file "${parts[3]}"
  read -r -a SUMS < <(python3 "$ROOT/scripts/record_sums.py" "${parts[0]}" "${parts[1]}" "${parts[3]}")
  check_rows "${SUMS[@]}"
  stop_server
}

check_writers() {
  local race part own others stray missing
  echo "writers: a second server"
  begin writers
  start_server "$DATA"
  check_refused ""
  set_fault '{"mode": "status", "status": 503, "share": 0.3}'
  check_refused " under status 503"
  lift_fault

  echo "writers: another program commits all the time"
  generate "$WORK/writers.ndjson" "$(days_ago 3)" 1 "$RECORDS"
  split -n "r/$WRITER_PARTS" -d "$WORK/writers.ndjson" "$WORK/writers-"
  objects foreign "$BUCKET/$PLACE/agent_logs" "$FOREIGN_SECONDS" >"$WORK/foreign" &
  PIDS=("$!")
  set_fault '{"mode": "lost_answer", "share": 0.3, "methods": ["PUT"], "path": "_log/"}'
  for part in "$WORK/writers-"*; do
    commit_file "$part"
  done
  check_hits
  lift_fault
  wait "${PIDS[@]}" || fail "the other program failed"
  PIDS=()
  read -r own others <"$WORK/foreign"
  check_true "commits of the other program: $own, of the server meanwhile or before: $others" test "$own" -gt 0
  read -r -a SUMS < <(python3 "$ROOT/scripts/record_sums.py" "$WORK/writers.ndjson")
  check_true "everything is committed" within "$RECOVER_SECONDS_MAX" settled
  check_rows "${SUMS[@]}"
  kill_server
  start_server "$DATA"
  echo "      after a kill"
  check_rows "${SUMS[@]}"
  # What was written for a commit that another one was faster than goes when its grace is over.
  read -r stray missing < <(objects strays "$BUCKET/$PLACE/agent_logs")
  check "files that the log names and that are not there ($stray it does not name)" 0 "$missing"
  stop_server

  echo "writers: a copy of the data directory"
  check_copy

  echo "writers: servers that begin at once, under lost answers"
  set_fault '{"mode": "lost_answer", "share": 0.5, "methods": ["PUT"], "path": "driftline-owner"}'
  for ((race = 1; race <= RACES; race++)); do
    check_race "$race"
  done
  check_hits
  lift_fault
}
