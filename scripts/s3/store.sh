# shellcheck shell=bash
# The S3 server of a check and the fault proxy before it. Sourced by check-s3.sh after common.sh.

STORE_INSTALL_SECONDS_MAX=900
BUCKET=driftline
# Another one, for cold stores.
ARCHIVE=driftline-archive
STORE=
STORE_PID=
PROXY_PID=
CONTROL=

end_store() {
  local pid
  # The store ends what it started; a kill would leave that to the system.
  for pid in $PROXY_PID $STORE_PID; do
    kill -TERM "$pid" 2>/dev/null || true
  done
  for pid in $PROXY_PID $STORE_PID; do
    within 30 ended "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}

# said NAME FILE: the word after NAME at the start of a line.
said() {
  sed -n "s/^$1 //p" "$2" | head -n 1
}

# A line that begins with NAME is in FILE, or the process has ended.
said_or_ended() {
  [[ -n $(said "$1" "$2") ]] || ended "$3"
}

# start_store KIND
start_store() {
  local status=0
  : >"$WORK/s3.out" >"$WORK/proxy.out"
  python3 "$ROOT/scripts/s3_server.py" --kind "$1" --bucket "$BUCKET" --data "$WORK/s3" --prove \
    >"$WORK/s3.out" 2>"$WORK/s3.log" &
  STORE_PID=$!
  within "$STORE_INSTALL_SECONDS_MAX" said_or_ended endpoint "$WORK/s3.out" "$STORE_PID" ||
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

# start_proxy SEED: sets AWS_ENDPOINT_URL, which leads through it.
start_proxy() {
  python3 "$ROOT/scripts/fault_proxy.py" --upstream "${STORE#http://}" --seed "$1" \
    >"$WORK/proxy.out" 2>"$WORK/proxy.log" &
  PROXY_PID=$!
  within 30 said_or_ended control "$WORK/proxy.out" "$PROXY_PID" || true
  CONTROL=$(said control "$WORK/proxy.out")
  [[ -n $CONTROL ]] || fail "the fault proxy: $(tail -n 1 "$WORK/proxy.log")"
  AWS_ENDPOINT_URL=$(said proxy "$WORK/proxy.out")
}

# objects COMMAND…: what the store itself says, past the proxy.
objects() {
  python3 "$ROOT/scripts/s3/objects.py" "$STORE" "$@"
}

# set_fault JSON: this fault and no other; none where it is empty. Counts hits from zero.
set_fault() {
  lift_fault
  fetch --output /dev/null -X DELETE "$CONTROL/counts"
  [[ -z $1 ]] || fetch --output /dev/null --data "$1" "$CONTROL/faults"
}

lift_fault() {
  fetch --output /dev/null -X DELETE "$CONTROL/faults"
}

# Requests that were hit since the fault was set.
hits() {
  fetch "$CONTROL/counts" | json "sum(sum(methods.values()) for methods in d['hits'].values())"
}

check_hits() {
  local count
  count=$(hits)
  check_true "the fault hit $count requests" test "$count" -gt 0
}
