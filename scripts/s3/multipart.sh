# shellcheck shell=bash
# Files that are too large for one request: uploaded in parts, by ingest, by joins, and on their way to the cold
# store, while parts and the ends of uploads are lost. Sourced by check-s3.sh.

# Records whose text nothing compresses: few are enough for a file beyond 16 MiB.
LARGE_RECORDS=3000
LARGE_TEXT_BYTES=9000
LARGE_FILES=0
PART='partNumber='
END='[?&]uploadId='
# Of parts, until the client gives up.
NO_PARTS="{\"mode\": \"refuse\", \"methods\": [\"PUT\"], \"path\": \"$PART\"}"
GIVE_UP_SECONDS_MAX=120
PART_FAULTS=(
  "no fault|"
  "parts answered 500|{\"mode\": \"status\", \"status\": 500, \"share\": 0.5, \"methods\": [\"PUT\"], \"path\": \"$PART\"}"
  "lost answers to parts|{\"mode\": \"lost_answer\", \"share\": 0.4, \"methods\": [\"PUT\"], \"path\": \"$PART\"}"
  "lost answers to ends|{\"mode\": \"lost_answer\", \"times\": 2, \"methods\": [\"POST\"], \"path\": \"$END\"}"
)

# large FILE DAY: some records of a day, with large texts.
large() {
  python3 - "$@" "$LARGE_RECORDS" "$LARGE_TEXT_BYTES" "$SEED" <<'PYTHON'
import json, pathlib, random, sys
file, day, records, text_bytes, seed = sys.argv[1:]
chance = random.Random(f"{seed} {file}")
with open(file, "w") as out:
    for number in range(int(records)):
        record = {"timestamp": f"{day}T12:00:{number % 60:02}Z", "agent_id": "large", "tenant_id": "t1",
                  "request_id": f"{pathlib.Path(file).name}-{number}", "prompt_tokens": number,
                  "text": chance.randbytes(int(text_bytes) // 2).hex()}
        out.write(json.dumps(record) + "\n")
PYTHON
}

check_parts() {
  local files parts
  read -r files parts < <(objects parts "$1")
  check_true "of $files data files $parts were uploaded in parts" test "$parts" -ge "$2"
}

flush_failed() {
  [[ $(status | json "d['flush_error'] is not None") == true ]]
}

# check_uploads NAME PREFIX: what failed was given up as a whole, at once or soon after.
check_uploads() {
  no_uploads() {
    [[ $(objects uploads "$1") == 0 ]]
  }
  within 30 no_uploads "$2" || true
  check "$1" 0 "$(objects uploads "$2")"
}

# commit_large DAY FAULT: some large records are committed under the fault.
commit_large() {
  LARGE_FILES=$((LARGE_FILES + 1))
  large "$WORK/large-$LARGE_FILES.ndjson" "$1"
  set_fault "$2"
  commit_file "$WORK/large-$LARGE_FILES.ndjson"
  [[ -z $2 ]] || check_hits
  lift_fault
  check "records" $((LARGE_FILES * LARGE_RECORDS)) \
    "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
}

check_multipart() {
  local entry before
  begin multipart
  COLD=$ARCHIVE/$PLACE
  export DRIFTLINE_LIFECYCLE_INTERVAL_S=0 DRIFTLINE_LIFECYCLE_CLOSED_AFTER_MINUTES=0
  start_server "$DATA"
  for entry in "${PART_FAULTS[@]}"; do
    echo "multipart: ${entry%%|*}"
    # Two files of each day, which are joined then.
    commit_large "$(days_ago $((30 + LARGE_FILES / 2)))" "${entry#*|}"
  done
  echo "multipart: parts that cannot be sent"
  LARGE_FILES=$((LARGE_FILES + 1))
  large "$WORK/large-$LARGE_FILES.ndjson" "$(days_ago 2)"
  set_fault "$NO_PARTS"
  within 60 posted "$WORK/large-$LARGE_FILES.ndjson" || fail "the batch is not accepted"
  check_true "the flush fails" within "$GIVE_UP_SECONDS_MAX" flush_failed
  lift_fault
  check_true "and succeeds then" within "$RECOVER_SECONDS_MAX" settled
  check_uploads "uploads that nobody ended" "$BUCKET/$PLACE"
  check_parts "$BUCKET/$PLACE/agent_logs" "$LARGE_FILES"

  before=$(contents)
  echo "multipart: joined"
  set_fault "$NO_PARTS"
  check "answer to a pass that can send no part" 500 "$(ask_for_pass)"
  for entry in "${PART_FAULTS[@]:1}"; do
    set_fault "${entry#*|}"
    [[ $(ask_for_pass) == 200 ]] || echo "      a pass failed: $(head -c 200 "$WORK/pass")"
  done
  lift_fault
  check_true "passes come to an end" within "$PASSES_SECONDS_MAX" maintained
  check "records" "$before" "$(contents)"
  check_uploads "uploads that nobody ended" "$BUCKET/$PLACE"
  stop_server

  echo "multipart: to the cold store"
  export DRIFTLINE_STORAGE_COLD_URL=s3://$COLD DRIFTLINE_LIFECYCLE_COLD_AFTER_DAYS=20
  export DRIFTLINE_LIFECYCLE_FILE_GRACE_MINUTES=0
  start_server "$DATA"
  set_fault "$NO_PARTS"
  check "answer to a pass that can send no part" 500 "$(ask_for_pass)"
  for entry in "${PART_FAULTS[@]:1}"; do
    set_fault "${entry#*|}"
    [[ $(ask_for_pass) == 200 ]] || echo "      a pass failed: $(head -c 200 "$WORK/pass")"
  done
  lift_fault
  check_true "passes come to an end" within "$PASSES_SECONDS_MAX" swept
  check_parts "$COLD/agent_logs" 2
  check_names 0
  check "records" "$before" "$(contents)"
  check_uploads "uploads to the cold store that nobody ended" "$COLD"

  echo "multipart: a kill in the middle of an upload"
  large "$WORK/large-kill.ndjson" "$(days_ago 2)"
  set_fault "{\"mode\": \"hang\", \"methods\": [\"PUT\"], \"path\": \"$PART\"}"
  within 60 posted "$WORK/large-kill.ndjson" || fail "the batch is not accepted"
  upload_hangs() {
    (($(hits) > 0))
  }
  within 60 upload_hangs || fail "no upload begins"
  kill_server
  echo "      uploads that nobody ended, for the store's own rule: $(objects uploads "$BUCKET/$PLACE")"
  lift_fault
  start_server "$DATA"
  check_true "what was acknowledged is committed" within "$RECOVER_SECONDS_MAX" settled
  check "records" $(((LARGE_FILES + 1) * LARGE_RECORDS)) \
    "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
  stop_server
  unset DRIFTLINE_STORAGE_COLD_URL DRIFTLINE_LIFECYCLE_COLD_AFTER_DAYS DRIFTLINE_LIFECYCLE_FILE_GRACE_MINUTES
  unset DRIFTLINE_LIFECYCLE_INTERVAL_S DRIFTLINE_LIFECYCLE_CLOSED_AFTER_MINUTES
}
