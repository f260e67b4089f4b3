#!/usr/bin/env bash
# Is every acknowledged record there exactly once when the tables are on S3, and the store fails in every way
# it can while the server is killed and started again?
#
# usage: scripts/check-s3.sh [SEED] [RECORDS] [KIND]
# About RECORDS are loaded under each fault. KIND is the S3 server as s3_server.py knows it: ceph, moto or auto.
# Skipped where none can be had. A fault proxy stands between the server and the store. The seed chooses
# when kills come, and which requests a fault hits. At the end the Python package deltalake reads the
# table past the proxy, where it can be installed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SEED=${1:-1}
RECORDS=${2:-100000}
KIND=${3:-auto}
BUCKET=driftline
TABLES=s3://$BUCKET/check/tables
DATA=$WORK/data
BATCH_LINES=1000
INSTALL_SECONDS_MAX=900
LOADER_SECONDS_MAX=300
LOADER_GRACE_SECONDS=2
# A start that needs the store may fail under a fault; after so many it is lifted.
START_TRIES_MAX=3
START_TRY_SECONDS=45
# How long the server may take to commit everything after a fault: its own timeouts and pauses have to end.
RECOVER_SECONDS_MAX=240
FAULT_FLUSH_SECONDS_MAX=20
ASKED=5
# An acknowledgement needs the local log only, whatever the store does.
ACK_SECONDS_MAX=5
ACKED_MIN=5
# An outage needs so much that the buffer, which takes half of it, fills.
OUTAGE_RECORDS=20000
RANDOM=$SEED

PROBE=$(DRIFTLINE_STORAGE_URL=$TABLES "$BINARY" query "select 1" --data "$WORK/probe" 2>&1) || true
[[ $PROBE != *"is no setting"* ]] || skip "this binary does not keep its tables on S3 yet"

# Each fault with its name. The shares are such that some of a request's tries get through.
FAULTS=(
  "no fault|"
  "status 503|{\"mode\": \"status\", \"status\": 503, \"share\": 0.3}"
  "status 500|{\"mode\": \"status\", \"status\": 500, \"share\": 0.3}"
  "closed connections|{\"mode\": \"refuse\", \"share\": 0.2}"
  "answers cut off|{\"mode\": \"cut\", \"share\": 0.2}"
  "a slow store|{\"mode\": \"slow\", \"bytes_per_second\": 500000}"
  "lost answers|{\"mode\": \"lost_answer\", \"share\": 0.2}"
  "lost answers to commits|{\"mode\": \"lost_answer\", \"share\": 0.7, \"methods\": [\"PUT\"], \"path\": \"_log/\"}"
  "requests that hang|{\"mode\": \"hang\", \"share\": 0.05}"
)

KILLED_MIDWAY=0
STORE_PID=
PROXY_PID=
LOADER_PID=
CONTROL=
# The files whose records were acknowledged.
FILES=()
# What each file adds up to, so that it is read once and may be deleted then.
SUMS=$WORK/sums
mkdir "$SUMS"

end_helpers() {
  local pid
  # The store ends what it started; a kill would leave that to the system.
  for pid in $LOADER_PID $PROXY_PID $STORE_PID; do
    kill -TERM "$pid" 2>/dev/null || true
  done
  for pid in $LOADER_PID $PROXY_PID $STORE_PID; do
    within 30 ended "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}
trap 'end_helpers; clean_up' EXIT

# said NAME FILE: the word after NAME at the start of a line.
said() {
  sed -n "s/^$1 //p" "$2" | head -n 1
}

# A line that begins with NAME is in FILE, or the process has ended.
said_or_ended() {
  [[ -n $(said "$1" "$2") ]] || ended "$3"
}

start_store() {
  local status=0
  python3 "$ROOT/scripts/s3_server.py" --kind "$KIND" --bucket "$BUCKET" --data "$WORK/s3" --prove \
    >"$WORK/s3.out" 2>"$WORK/s3.log" &
  STORE_PID=$!
  within "$INSTALL_SECONDS_MAX" said_or_ended endpoint "$WORK/s3.out" "$STORE_PID" ||
    fail "the S3 server does not start"
  STORE=$(said endpoint "$WORK/s3.out")
  if [[ -z $STORE ]]; then
    wait "$STORE_PID" || status=$?
    STORE_PID=
    ((status == 77)) && skip "no S3 server can be had: $(tail -n 1 "$WORK/s3.log")"
    fail "the S3 server: $(tail -n 1 "$WORK/s3.log")"
  fi
  echo "store: $(said kind "$WORK/s3.out")"
}

start_proxy() {
  python3 "$ROOT/scripts/fault_proxy.py" --upstream "${STORE#http://}" --seed "$SEED" \
    >"$WORK/proxy.out" 2>"$WORK/proxy.log" &
  PROXY_PID=$!
  within 30 said_or_ended control "$WORK/proxy.out" "$PROXY_PID" || true
  CONTROL=$(said control "$WORK/proxy.out")
  [[ -n $CONTROL ]] || fail "the fault proxy: $(tail -n 1 "$WORK/proxy.log")"
  AWS_ENDPOINT_URL=$(said proxy "$WORK/proxy.out")
}

# set_fault JSON: this fault and no other; none where it is empty.
set_fault() {
  lift_fault
  [[ -z $1 ]] || fetch --output /dev/null --data "$1" "$CONTROL/faults"
}

lift_fault() {
  fetch --output /dev/null -X DELETE "$CONTROL/faults"
}

# Requests that were hit since the counts were cleared.
hits() {
  fetch "$CONTROL/counts" | json "sum(sum(methods.values()) for methods in d['hits'].values())"
}

status() {
  fetch "$URL/api/v1/status"
}

alive() {
  fetch --output /dev/null "$URL/healthz" 2>/dev/null || ended "$SERVER_PID"
}

# Starts the server if it can be done in time; /readyz may well say that a flush failed.
try_start() {
  SERVERS_STARTED=$((SERVERS_STARTED + 1))
  SERVER_LOG=$WORK/server-$SERVERS_STARTED.log
  : >"$SERVER_LOG"
  URL=
  "$BINARY" serve --data "$DATA" --listen 127.0.0.1:0 >/dev/null 2>"$SERVER_LOG" &
  SERVER_PID=$!
  if within "$START_TRY_SECONDS" address_printed && [[ -n $URL ]] && within "$START_TRY_SECONDS" alive &&
    running "$SERVER_PID"; then
    return
  fi
  kill_server
  return 1
}

# start_under JSON: starts the server under a fault; lifts it for the start where that does not succeed.
start_under() {
  local try
  for ((try = 1; try <= START_TRIES_MAX; try++)); do
    try_start && return
    echo "      start $try under the fault did not succeed: $(tail -n 1 "$SERVER_LOG")"
  done
  lift_fault
  start_server "$DATA"
  set_fault "$1"
}

start_loader() {
  "$BINARY" load "$1" --url "$URL" >"$WORK/load.log" 2>&1 &
  LOADER_PID=$!
}

# Waits some seconds for the loader and returns its exit code; one that still tries then is ended.
loader_status() {
  local pid=$LOADER_PID status=0
  within "$1" ended "$pid" || kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || status=$?
  LOADER_PID=
  return "$status"
}

received() {
  status | json "d['books']['received']"
}

received_or_ended() {
  local now
  ended "$LOADER_PID" && return
  now=$(received 2>/dev/null) && ((now >= $1))
}

# Everything is committed, and the last flush was good.
settled() {
  [[ $(status 2>/dev/null | json "d['books']['buffered'] == 0 and d['flush_error'] is None" 2>/dev/null) == true ]]
}

# A flush succeeded since the start, or none is needed.
flushed() {
  [[ $(status 2>/dev/null | json "d['flushes'] > 0 or d['books']['buffered'] == 0" 2>/dev/null) == true ]]
}

# What FILES add up to. No request is in two files: the server's count of different ones says so as well.
expect() {
  read -r LINES REQUESTS TOKENS COST < <(python3 - "$SUMS" "${FILES[@]}" <<'PYTHON'
import json, math, os, sys

def sums(file):
    requests, tokens, costs = [], 0, []
    for line in open(file):
        record = json.loads(line)
        requests.append(record["request_id"])
        tokens += record.get("prompt_tokens") or 0
        costs.append(record.get("cost_usd") or 0)
    return [len(requests), len(set(requests)), tokens, math.fsum(costs)]

lines, requests, tokens, costs = 0, 0, 0, []
for file in sys.argv[2:]:
    known = os.path.join(sys.argv[1], os.path.basename(file))
    if not os.path.exists(known):
        with open(known, "w") as out:
            json.dump(sums(file), out)
    figures = json.load(open(known))
    lines, requests, tokens = lines + figures[0], requests + figures[1], tokens + figures[2]
    costs.append(figures[3])
print(lines, requests, tokens, repr(math.fsum(costs)))
PYTHON
  )
}

check_store() {
  expect
  check_true "everything is committed within $RECOVER_SECONDS_MAX s" within "$RECOVER_SECONDS_MAX" settled
  check "records" "$LINES" "$(sql_value 'select count(*) as n from agent_logs')"
  check "different requests" "$REQUESTS" "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
  check "prompt tokens" "$TOKENS" "$(sql_value 'select sum(prompt_tokens) as n from agent_logs')"
  check "rejected lines" 0 "$(sql_value 'select count(*) as n from rejected_logs')"
  check_true "cost" near "$COST" "$(sql_value 'select sum(cost_usd) as usd from agent_logs')" 1e-9
  check "books: accepted, committed and buffered" "$LINES $LINES" \
    "$(status | json "'%d %d' % (d['books']['accepted'], d['books']['committed'] + d['books']['buffered'])")"
}

# An answer under a fault may fail to come, but one that comes is right.
check_answers() {
  local try rows refused=0 wrong=0
  expect
  for ((try = 1; try <= ASKED; try++)); do
    if rows=$(sql 'select count(*) as n, sum(prompt_tokens) as tokens from agent_logs' 2>/dev/null); then
      [[ $(json "'%d %d' % (d[0]['n'], d[0]['tokens'])" <<<"$rows") == "$LINES $TOKENS" ]] || wrong=$((wrong + 1))
    else
      refused=$((refused + 1))
    fi
  done
  check "wrong answers of $ASKED under the fault ($refused refused)" 0 "$wrong"
}

# generate FILE DAY RECORDS: about so many records of one day, other ones each time.
PARTS=0
generate() {
  PARTS=$((PARTS + 1))
  "$BINARY" generate --seed $((SEED * 1000 + PARTS)) --start "${2}T00:00:00Z" --days 1 --rate "$3" -o "$1"
}

# day NUMBER: every part has a day of its own, so that statistics tell the files apart.
day() {
  date -u -d "2026-05-01 + $1 days" +%Y-%m-%d
}

# round NUMBER NAME FAULT: a load that is killed, a load that ends, a kill, and all is there.
round() {
  local file=$WORK/part-$1.ndjson before after
  echo "$2"
  generate "$file" "$(day "$1")" "$RECORDS"
  fetch --output /dev/null -X DELETE "$CONTROL/counts"
  set_fault "$3"
  start_under "$3"
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

  start_under "$3"
  start_loader "$file"
  check_true "the load ends well" loader_status "$LOADER_SECONDS_MAX"
  FILES+=("$file")
  check_answers
  # So that the next kill hits a server that commits, or one that cannot.
  within "$FAULT_FLUSH_SECONDS_MAX" flushed || echo "      no flush succeeded in $FAULT_FLUSH_SECONDS_MAX s"
  kill_server
  [[ -z $3 ]] || check_true "the fault hit $(hits) requests" test "$(hits)" -gt 0
  lift_fault

  start_server "$DATA"
  check_store
  stop_server
  rm "$file"
}

# post FILE: one request; prints status, seconds and Retry-After.
post() {
  curl --silent --noproxy '*' --max-time 60 --output "$WORK/answer" -H 'content-type: application/x-ndjson' \
    -H "Idempotency-Key: $(basename "$1")" --data-binary "@$1" \
    --write-out '%{http_code} %{time_total} %header{retry-after}\n' "$URL/api/v1/logs" || true
}

# outage NUMBER NAME FAULT KILL: with the store away, batches are acknowledged until the buffer is full.
outage() {
  local part=$WORK/part-$1.ndjson directory=$WORK/batches-$1
  local batch code seconds retry_after lines bytes slowest=0 acked=()
  echo "$2"
  generate "$part" "$(day "$1")" $((RECORDS > OUTAGE_RECORDS ? RECORDS : OUTAGE_RECORDS))
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
    "$(sql_value "select count(*) as n from agent_logs where timestamp >= '$(day "$1")T00:00:00Z'")"
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

posted() {
  [[ $(post "$1") == 200\ * ]]
}

# install_reader: the Python package deltalake, into an environment that is removed at the end.
install_reader() {
  python3 -m venv "$WORK/venv" >"$WORK/venv.log" 2>&1 &&
    timeout "$INSTALL_SECONDS_MAX" "$WORK/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --only-binary :all: deltalake pyarrow >"$WORK/pip.log" 2>&1
}

# Records, different requests, prompt tokens and cost of the table as another program reads it, past the proxy.
read_table() {
  "$WORK/venv/bin/python" - "$TABLES/agent_logs" "$STORE" <<'PYTHON'
import math, os, sys
import pyarrow.compute as pc
from deltalake import DeltaTable

table, endpoint = sys.argv[1:]
options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    options[name] = os.environ[name]
dataset = DeltaTable(table, storage_options=options).to_pyarrow_dataset()
rows = dataset.to_table(columns=["request_id", "prompt_tokens", "cost_usd"])
costs = (cost for cost in rows["cost_usd"].to_pylist() if cost is not None)
print(rows.num_rows, pc.count_distinct(rows["request_id"]).as_py(), pc.sum(rows["prompt_tokens"]).as_py(),
      repr(math.fsum(costs)))
PYTHON
}

export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=driftline AWS_SECRET_ACCESS_KEY=driftline-secret AWS_ALLOW_HTTP=true
export AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL
unset AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_REGION
unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
start_store
start_proxy
export DRIFTLINE_STORAGE_URL=$TABLES DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS=500 DRIFTLINE_QUERY_TIMEOUT_S=30
echo "seed $SEED, about $RECORDS records under each fault"

number=0
for entry in "${FAULTS[@]}"; do
  number=$((number + 1))
  round "$number" "${entry%%|*}" "${entry#*|}"
done
check "the parts' own different requests" "$LINES" "$REQUESTS"
check_true "kills in the middle of a load: $KILLED_MIDWAY" test "$KILLED_MIDWAY" -gt 0
outage $((number + 1)) "a store that hangs" '{"mode": "hang"}' no
outage $((number + 2)) "a store that hangs, and a kill" '{"mode": "hang"}' yes
outage $((number + 3)) "a store that is away" '{"mode": "refuse"}' no

echo "after a restart, from committed files"
start_server "$DATA"
check_store
stop_server
check "Parquet files in the local directory" 0 "$(find "$DATA" -name '*.parquet' | wc -l)"
if install_reader; then
  read -r lines requests tokens cost < <(read_table) || fail "deltalake cannot read the table"
  check "deltalake: records, different requests, prompt tokens" "$LINES $REQUESTS $TOKENS" "$lines $requests $tokens"
  check_true "deltalake: cost" near "$COST" "$cost" 1e-9
else
  echo "without deltalake, which cannot be installed"
fi
finish
