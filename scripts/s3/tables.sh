# shellcheck shell=bash
# A server that has its tables in the store: starts under a fault, commits, maintenance, and what is in the tables.
# Sourced by check-s3.sh after store.sh.

# A start that needs the store may fail under a fault; after so many it is lifted.
START_TRIES_MAX=3
START_TRY_SECONDS=60
# How long the server may take to commit everything after a fault: its own timeouts and pauses have to end.
RECOVER_SECONDS_MAX=240

PASSES_SECONDS_MAX=180
PARTS=0

# begin NAME: a data directory and tables of a step's own.
begin() {
  PLACE=$1/tables
  COLD=
  DATA=$WORK/$1
  export DRIFTLINE_STORAGE_URL=s3://$BUCKET/$PLACE
}

alive() {
  fetch --output /dev/null "$URL/healthz" 2>/dev/null || ended "$SERVER_PID"
}

# try_start DATA: starts the server if it can be done in time; /readyz may well say that a flush failed.
try_start() {
  SERVERS_STARTED=$((SERVERS_STARTED + 1))
  SERVER_LOG=$WORK/server-$SERVERS_STARTED.log
  : >"$SERVER_LOG"
  URL=
  "$BINARY" serve --data "$1" --listen 127.0.0.1:0 >/dev/null 2>"$SERVER_LOG" &
  SERVER_PID=$!
  if within "$START_TRY_SECONDS" address_printed && [[ -n $URL ]] && within "$START_TRY_SECONDS" alive &&
    running "$SERVER_PID"; then
    return
  fi
  kill_server
  return 1
}

# start_under JSON DATA: starts the server under a fault; lifts it for the start where that does not succeed.
start_under() {
  local try
  for ((try = 1; try <= START_TRIES_MAX; try++)); do
    try_start "$2" && return
    echo "      start $try under the fault did not succeed: $(tail -n 1 "$SERVER_LOG" | cut -c 1-160)"
  done
  lift_fault
  start_server "$2"
  set_fault "$1"
}

status() {
  fetch "$URL/api/v1/status"
}

# Everything is committed, and the last flush was good.
settled() {
  [[ $(status 2>/dev/null | json "d['books']['buffered'] == 0 and d['flush_error'] is None" 2>/dev/null) == true ]]
}

# generate FILE FIRST_DAY DAYS RECORDS: about so many records a day, other ones each time.
generate() {
  PARTS=$((PARTS + 1))
  "$BINARY" generate --seed $((SEED * 1000 + PARTS)) --start "${2}T00:00:00Z" --days "$3" --rate "$4" -o "$1"
}

# days_ago NUMBER: that day, UTC.
days_ago() {
  date -u -d "-$1 days" +%Y-%m-%d
}

# post FILE: one request; prints status, seconds and Retry-After.
post() {
  curl --silent --noproxy '*' --max-time 60 --output "$WORK/answer" -H 'content-type: application/x-ndjson' \
    -H "Idempotency-Key: $(basename "$1")" --data-binary "@$1" \
    --write-out '%{http_code} %{time_total} %header{retry-after}\n' "$URL/api/v1/logs" || true
}

posted() {
  [[ $(post "$1") == 200\ * ]]
}

# commit_file FILE: takes it in one request and waits until it is committed.
commit_file() {
  within "$RECOVER_SECONDS_MAX" posted "$1" || fail "$1 is not accepted: $(cat "$WORK/answer")"
  within "$RECOVER_SECONDS_MAX" settled || fail "$1 is not committed: $(status)"
}

# contents [CONDITION]: number and digest of the records in all their columns, as the calls say, not the rollups.
contents() {
  local statement="select * from agent_logs where ${1:-true}"
  # Sorted here: some steps have records of so much text that a sort of all is beyond a statement's memory.
  fetch --get --data-urlencode "q=$statement" --data 'format=jsonl&rollups=off' "$URL/api/v1/sql" |
    LC_ALL=C sort >"$WORK/contents" ||
    fail "the server refused: $statement: $(head -c 300 "$WORK/contents")"
  echo "$(wc -l <"$WORK/contents") $(sha256sum "$WORK/contents" | cut -c 1-16)"
}

# ask_for_pass: one pass of maintenance; prints the status of the answer, which is left in $WORK.
ask_for_pass() {
  curl --silent --noproxy '*' --max-time 300 --output "$WORK/pass" --write-out '%{http_code}' -X POST \
    "$URL/api/v1/maintenance" || true
}

due() {
  fetch "$URL/api/v1/maintenance" | json "len(d['due'])"
}

# A pass ended well, and nothing is due. One that a fault broke off has done whole actions only.
maintained() {
  [[ $(ask_for_pass) == 200 && $(due) == 0 ]]
}

# A pass ended well, and deleted nothing.
swept() {
  maintained && [[ $(json "d['done']['swept_files']" <"$WORK/pass") == 0 ]]
}

# check_names DATA_FILES_TOO_MANY: what the store has and what the Delta log names.
check_names() {
  check "data files that the log does not name, and named ones that are not there" "$1 0" \
    "$(objects strays "$BUCKET/$PLACE/agent_logs" ${COLD:+"$COLD/agent_logs"})"
}
