# shellcheck shell=bash
# The crash harness of the tests, with its tables on S3 and a store that fails. Sourced by check-s3.sh.

CRASH_KILLS=${CRASH_KILLS:-20}
CRASH_SECONDS_MAX=1800

check_crash() {
  command -v cargo >/dev/null || { echo "skipped: crash, cargo cannot be had"; return 0; }
  # With all but the first run the build is there already.
  (cd "$ROOT" && cargo test --locked --test it --no-run >"$WORK/crash-build.log" 2>&1) || fail "the tests do not build"
  set_fault '{"mode": "status", "status": 503, "share": 0.05}'
  check_true "$CRASH_KILLS kills with tables on S3, where one request of twenty is answered 503" crash
  check_hits
  lift_fault
}

crash() (
  # Settings of the other steps are none of the harness's.
  unset DRIFTLINE_STORAGE_REQUEST_TIMEOUT_S DRIFTLINE_STORAGE_RETRY_TIMEOUT_S DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS
  unset DRIFTLINE_QUERY_TIMEOUT_S
  cd "$ROOT"
  DRIFTLINE=$BINARY DRIFTLINE_CRASH_STORAGE_URL="s3://$BUCKET/crash" DRIFTLINE_CRASH_KILLS=$CRASH_KILLS \
    DRIFTLINE_CRASH_SEED=$SEED timeout "$CRASH_SECONDS_MAX" \
    cargo test --locked --test it -- --nocapture crash:: >"$WORK/crash.log" 2>&1 || { tail -n 30 "$WORK/crash.log" >&2; return 1; }
  grep -o "crash harness, seed.*" "$WORK/crash.log"
)
