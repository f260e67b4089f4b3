# shellcheck shell=bash
# The life of files while the store fails: joined, compressed harder, rid of somebody's records, moved to a cold
# store. The records are the same before and after. Sourced by check-s3.sh.

SMALL_FILES=4
KILLED_IN_PASSES=0
LIFE_FAULTS=(
  "status 503|{\"mode\": \"status\", \"status\": 503, \"share\": 0.3}"
  "answers cut off|{\"mode\": \"cut\", \"share\": 0.15}"
  "lost answers|{\"mode\": \"lost_answer\", \"share\": 0.2}"
  "lost answers to commits|{\"mode\": \"lost_answer\", \"share\": 0.7, \"methods\": [\"PUT\"], \"path\": \"_log/\"}"
  "closed connections|{\"mode\": \"refuse\", \"share\": 0.2}"
)

# load_small FIRST_DAY DAYS RECORDS: so many days, each in some small files of about so many records together.
load_small() {
  local part=$WORK/small.ndjson piece
  generate "$part" "$1" "$2" "$3"
  # Every piece has lines of all days.
  split -n "r/$SMALL_FILES" -d "$part" "$WORK/piece-$PARTS-"
  for piece in "$WORK/piece-$PARTS-"*; do
    commit_file "$piece"
    rm "$piece"
  done
}

# kill_in_pass FAULT: under the fault a pass begins, and after its first action the server is killed and started.
kill_in_pass() {
  local before
  before=$(due)
  check_true "actions that are due: $before" test "$before" -gt 1
  set_fault "$1"
  # A pass that the fault breaks off before it has done anything is asked for again.
  while true; do ask_for_pass >/dev/null; done &
  PIDS=("$!")
  fewer_due() {
    local now
    now=$(due 2>/dev/null) && ((now < before))
  }
  within "$PASSES_SECONDS_MAX" fewer_due || fail "the pass does nothing: $(cat "$WORK/pass" 2>/dev/null)"
  kill_server
  kill "${PIDS[@]}"
  wait "${PIDS[@]}" 2>/dev/null || true
  PIDS=()
  start_under "$1" "$DATA"
  if (($(due) > 0)); then
    KILLED_IN_PASSES=$((KILLED_IN_PASSES + 1))
  else
    echo "      the pass had ended before the kill"
  fi
}

# passes_round NAME FAULT: what is due is done under the fault, with a kill in the middle.
passes_round() {
  local before
  echo "$1"
  before=$(contents)
  kill_in_pass "$2"
  lift_fault
  check "records after a kill in the middle" "$before" "$(contents)"
  set_fault "$2"
  check_true "passes come to an end under the fault" within "$PASSES_SECONDS_MAX" maintained
  check_hits
  lift_fault
  check "records" "$before" "$(contents)"
}

# sweep_all FAULT: with no grace, files that nobody needs go, also while the store fails.
sweep_all() {
  local before
  before=$(contents)
  stop_server
  DRIFTLINE_LIFECYCLE_FILE_GRACE_MINUTES=0 start_server "$DATA"
  set_fault "$1"
  check_true "files go once their grace is over" within "$PASSES_SECONDS_MAX" swept
  check_hits
  lift_fault
  check_names 0
  check "records" "$before" "$(contents)"
}

# Small files are joined, those of old days compressed harder.
check_maintenance() {
  local entry
  begin life
  start_server "$DATA"
  for entry in "${LIFE_FAULTS[@]}"; do
    # Days of both kinds: until 7 days old, and older.
    load_small "$(days_ago 11)" 6 "$SMALL_RECORDS"
    passes_round "maintenance: ${entry%%|*}" "${entry#*|}"
  done
  echo "maintenance: files that nobody needs"
  sweep_all '{"mode": "status", "status": 503, "share": 0.3}'
  stop_server
}

forgotten() {
  [[ $(curl --silent --noproxy '*' --max-time 300 --output "$WORK/forgotten" --write-out '%{http_code}' \
    -H 'content-type: application/json' --data "{\"user_id\": \"$1\"}" "$URL/api/v1/forget" || true) == 200 ]]
}

# One user's records go, all others stay; the files that held them go after their grace.
check_forget() {
  local user count others lines stray
  echo "forget: a user, under lost answers"
  start_server "$DATA"
  user=$(sql_value 'select user_id from agent_logs where user_id is not null group by 1 order by count(*) desc, 1 limit 1')
  count=$(sql_value "select count(*) as n from agent_logs where user_id = '$user'")
  # Of a body in which nothing is a record no line is kept.
  printf '%s\n' "{\"request_id\": \"whole\", \"timestamp\": \"$(days_ago 3)T00:00:00Z\"}" \
    "{\"user_id\": \"$user\", \"broken" '{"user_id": "another", "broken' >"$WORK/broken.ndjson"
  commit_file "$WORK/broken.ndjson"
  check "rejected lines" 2 "$(sql_value 'select count(*) as n from rejected_logs')"
  others=$(contents "user_id is distinct from '$user'")
  check_true "records of $user: $count" test "$count" -gt 0
  set_fault '{"mode": "lost_answer", "share": 0.3}'
  check_true "the user is forgotten under the fault" within "$PASSES_SECONDS_MAX" forgotten "$user"
  check_hits
  lift_fault
  check "records of $user" 0 "$(sql_value "select count(*) as n from agent_logs where user_id = '$user'")"
  check "all other records" "$others" "$(contents)"
  lines=$(sql_value 'select raw from rejected_logs')
  check "the rejected line that is left" '{"user_id": "another", "broken' "$lines"
  kill_server
  start_server "$DATA"
  check "all other records after a kill" "$others" "$(contents)"
  check_true "a pass within the grace" maintained
  read -r stray _ < <(objects strays "$BUCKET/$PLACE/agent_logs")
  check_true "old files that stay for their grace: $stray" test "$stray" -gt 0
  sweep_all '{"mode": "cut", "share": 0.15}'
  check "all other records after the grace" "$others" "$(contents)"
  stop_server
}

# Files move to another bucket, as they are or compressed harder on their way.
check_cold() {
  local entry age=40
  begin cold
  COLD=$ARCHIVE/$PLACE
  start_server "$DATA"
  for entry in "${LIFE_FAULTS[@]}"; do
    load_small "$(days_ago $((age + 3)))" 4 "$SMALL_RECORDS"
    age=$((age + 10))
  done
  check_true "all days are warm" within "$PASSES_SECONDS_MAX" maintained
  check "data files in the cold store" 0 "$(objects count "$COLD")"
  stop_server

  export DRIFTLINE_STORAGE_COLD_URL=s3://$COLD
  for entry in "${LIFE_FAULTS[@]}"; do
    age=$((age - 10))
    export DRIFTLINE_LIFECYCLE_COLD_AFTER_DAYS=$((age - 2))
    start_server "$DATA"
    # Two of the four days have hot files as well.
    load_small "$(days_ago $((age + 3)))" 2 "$SMALL_RECORDS"
    passes_round "cold store: ${entry%%|*}" "${entry#*|}"
    stop_server
  done
  echo "cold store: everything is there"
  start_server "$DATA"
  sweep_all '{"mode": "refuse", "share": 0.2}'
  check "data files in the first store" 0 "$(objects count "$BUCKET/$PLACE/agent_logs/date=")"
  stop_server
  unset DRIFTLINE_STORAGE_COLD_URL DRIFTLINE_LIFECYCLE_COLD_AFTER_DAYS
}

check_lifecycle() {
  # Maintenance runs on request only, and a day is closed at its end.
  export DRIFTLINE_LIFECYCLE_INTERVAL_S=0 DRIFTLINE_LIFECYCLE_CLOSED_AFTER_MINUTES=0
  check_maintenance
  check_forget
  check_cold
  check_true "kills in the middle of a pass: $KILLED_IN_PASSES" test "$KILLED_IN_PASSES" -gt 0
  unset DRIFTLINE_LIFECYCLE_INTERVAL_S DRIFTLINE_LIFECYCLE_CLOSED_AFTER_MINUTES
}
