# shellcheck shell=bash
# Loads while the store fails, with kills: each acknowledged record is there once. Sourced by check-s3.sh.

BATCH_LINES=1000
FAULT_FLUSH_SECONDS_MAX=20
ASKED=5
# An acknowledgement needs the local log only, whatever the store does.
ACK_SECONDS_MAX=5
ACKED_MIN=5
# An outage needs so much that the buffer, which takes half of it, fills.
OUTAGE_RECORDS=20000

KILLED_MIDWAY=0
# The files whose records were acknowledged, and what each adds up to.
FILES=()
SUMS=()
mkdir "$WORK/sums"

# The shares are such that some of a request's tries get through.
FAULTS=(
  "no fault|"
  "status 503|{\"mode\": \"status\", \"status\": 503, \"share\": 0.3}"
  "status 500|{\"mode\": \"status\", \"status\": 500, \"share\": 0.3}"
  "closed connections|{\"mode\": \"refuse\", \"share\": 0.2}"
  "answers cut off|{\"mode\": \"cut\", \"share\": 0.2}"
  "a slow store|{\"mode\": \"slow\", \"bytes_per_second\": 2000000}"
  "lost answers|{\"mode\": \"lost_answer\", \"share\": 0.2}"
  "lost answers to commits|{\"mode\": \"lost_answer\", \"share\": 0.7, \"methods\": [\"PUT\"], \"path\": \"_log/\"}"
  "requests that hang|{\"mode\": \"hang\", \"share\": 0.05}"
)

# A flush succeeded since the start, or none is needed.
flushed() {
  [[ $(status 2>/dev/null | json "d['flushes'] > 0 or d['books']['buffered'] == 0" 2>/dev/null) == true ]]
}

expect() {
  read -r -a SUMS < <(python3 "$ROOT/scripts/record_sums.py" --kept "$WORK/sums" "${FILES[@]}")
}

check_store() {
  expect
  check_true "everything is committed within $RECOVER_SECONDS_MAX s" within "$RECOVER_SECONDS_MAX" settled
  check_rows "${SUMS[@]}"
  check "books: accepted, committed and buffered" "${SUMS[0]} ${SUMS[0]}" \
    "$(status | json "'%d %d' % (d['books']['accepted'], d['books']['committed'] + d['books']['buffered'])")"
}

# An answer under a fault may fail to come, but one that comes is right.
check_answers() {
  local try rows refused=0 wrong=0
  expect
  for ((try = 1; try <= ASKED; try++)); do
    if rows=$(sql 'select count(*) as n, sum(prompt_tokens) as tokens from agent_logs' 2>/dev/null); then
      [[ $(json "'%d %d' % (d[0]['n'], d[0]['tokens'])" <<<"$rows") == "${SUMS[0]} ${SUMS[2]}" ]] ||
        wrong=$((wrong + 1))
    else
      refused=$((refused + 1))
    fi
  done
  check "wrong answers of $ASKED under the fault ($refused refused)" 0 "$wrong"
}

# load_round NUMBER NAME FAULT: a load that is killed, a load that ends, a kill, and all is there.
load_round() {
  local file=$WORK/part-$1.ndjson before after
  echo "loads: $2"
  # Every part has a day of its own, so that statistics tell the files apart.
  generate "$file" "$(days_ago $((60 - $1)))" 1 "$RECORDS"
  set_fault "$3"
  start_under "$3" "$DATA"
  before=$(received)
  after=$(($(wc -l <"$file") * (5 + RANDOM % 50) / 100))
  start_loader "$file"
  within "$LOADER_SECONDS_MAX" received_or_ended $((before + after)) || fail "the load stands still"
  kill_server
  if loader_status "$LOADER_GRACE_SECONDS"; then
    echo "      the load had ended before the kill"
  else
    KILLED_MIDWAY=$((KILLED_MIDWAY + 1))
  fi

  start_under "$3" "$DATA"
  start_loader "$file"
  # A server that is away for longer than a load waits for ends the load, which says so: it is started again then, and
  # what was acknowledged is not stored twice.
  if ! loader_status "$LOADER_SECONDS_MAX"; then
    echo "      the load gave up under the fault: $(tail -n 1 "$WORK/load.log")"
    lift_fault
    start_loader "$file"
    check_true "the load ends well once the store answers" loader_status "$LOADER_SECONDS_MAX"
    set_fault "$3"
  fi
  FILES+=("$file")
  check_answers
  # So that the next kill hits a server that commits, or one that cannot.
  within "$FAULT_FLUSH_SECONDS_MAX" flushed || echo "      no flush succeeded in $FAULT_FLUSH_SECONDS_MAX s"
  kill_server
  [[ -z $3 ]] || check_hits
  lift_fault

  start_server "$DATA"
  check_store
  stop_server
  rm "$file"
}

# outage NUMBER NAME FAULT KILL: with the store away, batches are acknowledged until the buffer is full.
outage() {
  local part=$WORK/part-$1.ndjson directory=$WORK/batches-$1 day
  local batch code seconds retry_after lines bytes slowest=0 acked=()
  echo "outage: $2"
  day=$(days_ago $((60 - $1)))
  generate "$part" "$day" 1 $((RECORDS > OUTAGE_RECORDS ? RECORDS : OUTAGE_RECORDS))
  mkdir "$directory"
  split -l "$BATCH_LINES" -a 4 -d "$part" "$directory/batch-$1-"
  bytes=$(stat -c %s "$part")
  rm "$part"
  export DRIFTLINE_BUFFER_BYTES_MAX=$((bytes / 2)) DRIFTLINE_BUFFER_FLUSH_BYTES=$((bytes / 8))
  export DRIFTLINE_INGEST_WAIT_MS_MAX=500
  start_server "$DATA"
  set_fault "$3"
  for batch in "$directory"/*; do
    read -r code seconds retry_after < <(post "$batch")
    [[ $code == 200 ]] || break
    acked+=("$batch")
    slowest=$(python3 -c 'import sys; print(max(map(float, sys.argv[1:])))' "$slowest" "$seconds")
  done
  check_true "batches acknowledged without the store: ${#acked[@]}" test "${#acked[@]}" -ge "$ACKED_MIN"
  check_true "the slowest took $slowest s" \
    python3 -c 'import sys; sys.exit(float(sys.argv[1]) > float(sys.argv[2]))' "$slowest" "$ACK_SECONDS_MAX"
  check "answer when the buffer is full" 503 "$code"
  check_true "it says when to come back: ${retry_after:-nothing}" test -n "${retry_after:-}"
  lines=$(cat "${acked[@]}" /dev/null | wc -l)
  # Of a day that no committed file has: the store need not be asked.
  check "acknowledged records that are seen meanwhile" "$lines" \
    "$(sql_value "select count(*) as n from agent_logs where timestamp >= '${day}T00:00:00Z'")"
  check "books meanwhile: accepted less committed and buffered" 0 \
    "$(status | json "d['books']['accepted'] - d['books']['committed'] - d['books']['buffered']")"
  FILES+=("${acked[@]}")
  if [[ $4 == yes ]]; then
    kill_server
    lift_fault
    start_server "$DATA"
  else
    lift_fault
  fi
  echo "      the store is back; what was acknowledged and nothing else"
  check_store
  for batch in "$directory"/*; do
    within "$RECOVER_SECONDS_MAX" posted "$batch" || fail "$batch is not accepted: $(cat "$WORK/answer")"
  done
  FILES=("${FILES[@]:0:${#FILES[@]}-${#acked[@]}}" "$directory"/*)
  echo "      with all batches"
  check_store
  stop_server
  rm -r "$directory"
  unset DRIFTLINE_BUFFER_BYTES_MAX DRIFTLINE_BUFFER_FLUSH_BYTES DRIFTLINE_INGEST_WAIT_MS_MAX
}

# install_reader: the Python package deltalake, into an environment that is removed at the end.
install_reader() {
  python3 -m venv "$WORK/venv" >"$WORK/venv.log" 2>&1 &&
    timeout "$INSTALL_SECONDS_MAX" "$WORK/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --only-binary :all: deltalake pyarrow >"$WORK/pip.log" 2>&1
}

check_loads() {
  local number=0 entry lines requests tokens cost
  begin loads
  for entry in "${FAULTS[@]}"; do
    number=$((number + 1))
    load_round "$number" "${entry%%|*}" "${entry#*|}"
  done
  check "the parts' own different requests" "${SUMS[0]}" "${SUMS[1]}"
  check_true "kills in the middle of a load: $KILLED_MIDWAY" test "$KILLED_MIDWAY" -gt 0
  outage $((number + 1)) "a store that hangs" '{"mode": "hang"}' no
  outage $((number + 2)) "a store that hangs, and a kill" '{"mode": "hang"}' yes
  outage $((number + 3)) "a store that is away" '{"mode": "refuse"}' no

  echo "loads: after a restart, from committed files"
  start_server "$DATA"
  check_store
  stop_server
  check "Parquet files in the local directory" 0 "$(find "$DATA" -name '*.parquet' | wc -l)"
  if install_reader; then
    read -r lines requests tokens cost < <("$WORK/venv/bin/python" "$ROOT/scripts/s3/read_table.py" "$STORE" \
      "$DRIFTLINE_STORAGE_URL/agent_logs") || fail "deltalake cannot read the table"
    check "deltalake: records, different requests, prompt tokens" "${SUMS[*]:0:3}" "$lines $requests $tokens"
    check_true "deltalake: cost" near "${SUMS[3]}" "$cost" 1e-9
  else
    echo "without deltalake, which cannot be installed"
  fi
}
