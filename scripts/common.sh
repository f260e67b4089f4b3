# shellcheck shell=bash
# What the check scripts share: finding the binary, a server of their own on loopback, SQL over
# HTTP, comparing, and cleaning up. Sourced, never run. It never touches anything outside $WORK,
# and every wait is bounded.
#
# The binary is $DRIFTLINE, else the newer of the built release and debug ones.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
START_SECONDS_MAX=120
STOP_SECONDS_MAX=120
INSTALL_SECONDS_MAX=300

SERVER_PID=
SERVER_LOG=
SERVERS_STARTED=0
URL=
CHECKS=0
FAILURES=0
# A `driftline load` that runs, ended when the script ends; and further processes of a script.
LOADER_PID=
LOADER_SECONDS_MAX=300
# So long a loader may go on that has lost its server.
LOADER_GRACE_SECONDS=2
PIDS=()

skip() {
  echo "skipped: $*"
  exit 0
}

# Ends the script: something went wrong that leaves nothing to compare.
fail() {
  echo "fail  $*" >&2
  if [[ -s $SERVER_LOG ]]; then
    echo "the server's last lines:" >&2
    tail -n 20 "$SERVER_LOG" >&2
  fi
  exit 1
}

# check NAME EXPECTED ACTUAL
check() {
  CHECKS=$((CHECKS + 1))
  if [[ $2 == "$3" ]]; then
    echo "pass  $1: $3"
  else
    echo "fail  $1: expected $2, got $3"
    FAILURES=$((FAILURES + 1))
  fi
}

# check_true NAME COMMAND…
check_true() {
  local name=$1
  shift
  CHECKS=$((CHECKS + 1))
  if "$@"; then
    echo "pass  $name"
  else
    echo "fail  $name"
    FAILURES=$((FAILURES + 1))
  fi
}

# The last line of a script.
finish() {
  if ((CHECKS == 0 || FAILURES > 0)); then
    echo "$FAILURES of $CHECKS checks failed"
    exit 1
  fi
  echo "all $CHECKS checks passed"
}

# need COMMAND…: skips the check where a command is missing.
need() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || skip "$command is not installed"
  done
}

# install_packages PACKAGE…: by apt-get; skips the check where that is not possible.
install_packages() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    skip "$* are not installed, and apt-get cannot be used"
  fi
  echo "installing $*"
  { timeout "$INSTALL_SECONDS_MAX" apt-get update &&
    DEBIAN_FRONTEND=noninteractive timeout "$INSTALL_SECONDS_MAX" \
      apt-get install --yes --no-install-recommends "$@"; } >"$WORK/apt.log" 2>&1 ||
    skip "$* cannot be installed: $(tail -n 1 "$WORK/apt.log")"
}

# free_port: one that nobody listens on at the moment.
free_port() {
  python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

# near EXPECTED ACTUAL RELATIVE_TOLERANCE
near() {
  python3 - "$@" <<'PYTHON'
import math, sys
expected, actual, tolerance = map(float, sys.argv[1:])
sys.exit(not math.isclose(expected, actual, rel_tol=tolerance, abs_tol=0.0))
PYTHON
}

find_binary() {
  local target=${CARGO_TARGET_DIR:-$ROOT/target} candidate
  BINARY=${DRIFTLINE:-}
  if [[ -z $BINARY ]]; then
    for candidate in "$target/release/driftline" "$target/debug/driftline"; do
      if [[ -x $candidate && (-z $BINARY || $candidate -nt $BINARY) ]]; then
        BINARY=$candidate
      fi
    done
  fi
  [[ -n $BINARY ]] || fail "no driftline binary: build it, or name one in DRIFTLINE"
  command -v "$BINARY" >/dev/null || fail "$BINARY cannot be run"
  BINARY=$(realpath "$(command -v "$BINARY")")
  echo "binary: $BINARY"
}

# within SECONDS COMMAND…: tries the command until it succeeds; false when the time is over.
within() {
  local deadline=$((SECONDS + $1))
  shift
  while ! "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

running() {
  kill -0 "$1" 2>/dev/null
}

ended() {
  ! running "$1"
}

fetch() {
  curl --silent --show-error --fail-with-body --noproxy '*' --max-time 120 "$@"
}

address_printed() {
  URL=$(sed -n 's/^.*listening on \(http:[^[:space:]]*\).*$/\1/p' "$SERVER_LOG" | head -n 1)
  [[ -n $URL ]] || ended "$SERVER_PID"
}

ready() {
  fetch --output /dev/null "$URL/readyz" 2>/dev/null || ended "$SERVER_PID"
}

# start_server DATA [FLAG…]: sets SERVER_PID and URL once the server is ready.
start_server() {
  local data=$1
  shift
  SERVERS_STARTED=$((SERVERS_STARTED + 1))
  SERVER_LOG=$WORK/server-$SERVERS_STARTED.log
  : >"$SERVER_LOG"
  "$BINARY" serve --data "$data" --listen 127.0.0.1:0 "$@" >/dev/null 2>"$SERVER_LOG" &
  SERVER_PID=$!
  within "$START_SECONDS_MAX" address_printed || fail "the server printed no address"
  [[ -n $URL ]] || fail "the server ended before it listened"
  within "$START_SECONDS_MAX" ready || fail "the server did not become ready"
  running "$SERVER_PID" || fail "the server ended before it was ready"
}

# Stops the server as an operator would; it has to end by itself and well.
stop_server() {
  local pid=$SERVER_PID status=0
  kill -TERM "$pid"
  within "$STOP_SECONDS_MAX" ended "$pid" || fail "the server did not stop"
  SERVER_PID=
  wait "$pid" || status=$?
  check "exit code of the stopped server" 0 "$status"
}

# Ends the server as a power cut would.
kill_server() {
  local pid=$SERVER_PID
  SERVER_PID=
  # It may have ended by itself.
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# start_loader FILE: loads it in the background.
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

# The server's own count of the records and lines that came in, duplicates included.
received() {
  fetch "$URL/api/v1/status" | json "d['books']['received']"
}

received_or_ended() {
  local now
  ended "$LOADER_PID" && return
  now=$(received 2>/dev/null) && ((now >= $1))
}

# sql QUERY: the rows as JSON.
sql() {
  fetch --get --data-urlencode "q=$1" "$URL/api/v1/sql"
}

# json EXPRESSION: the value of a Python expression over the document `d` on standard input.
json() {
  python3 -c 'import json, sys
d = json.load(sys.stdin)
value = eval(sys.argv[1])
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# sql_value QUERY [PYTHON]: the only value of the only row, `v` in the expression.
sql_value() {
  local rows
  rows=$(sql "$1") || fail "the server refused: $1: $rows"
  json "(lambda v: ${2:-v})(*[value for row in d for value in row.values()])" <<<"$rows"
}

# check_rows LINES REQUESTS TOKENS COST: all of what record_sums.py says is there, once.
check_rows() {
  check "records" "$1" "$(sql_value 'select count(*) as n from agent_logs')"
  check "different requests" "$2" "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
  check "prompt tokens" "$3" "$(sql_value 'select sum(prompt_tokens) as n from agent_logs')"
  check "rejected lines" 0 "$(sql_value 'select count(*) as n from rejected_logs')"
  check_true "cost" near "$4" "$(sql_value 'select sum(cost_usd) as usd from agent_logs')" 1e-9
}

clean_up() {
  local pid
  for pid in "${PIDS[@]}" $LOADER_PID $SERVER_PID; do
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$WORK"
}

# Whatever proxy the environment names, the servers here are on loopback.
export no_proxy="127.0.0.1${no_proxy:+,$no_proxy}" NO_PROXY="127.0.0.1${NO_PROXY:+,$NO_PROXY}"
WORK=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
need curl python3
find_binary
