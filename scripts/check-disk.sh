#!/usr/bin/env bash
# What happens on a disk that fills up, on one that turns read-only, and when a second server comes?
#
# usage: scripts/check-disk.sh [SEED]
# The data directory is on a small file system in memory of its own, at a path with spaces. Skipped where none
# may be mounted. Batches are sent until the disk is full; whatever was acknowledged must be there once: while
# the disk is full, once there is room again, and after a kill.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SEED=${1:-1}
DISK_MIB=48
BATCHES_MAX=400
BATCH_LINES=500
DISK="$WORK/a small disk"
DATA="$DISK/the data"

mkdir "$DISK"
mount -t tmpfs -o "size=${DISK_MIB}m" tmpfs "$DISK" 2>/dev/null || skip "no file system may be mounted here"
unmount() {
  mountpoint -q "$DISK" && umount -l "$DISK"
  clean_up
}
trap unmount EXIT

"$BINARY" generate --seed "$SEED" --start 2026-05-01T00:00:00Z --days 10 --rate 20000 -o "$WORK/load.ndjson"
split --lines "$BATCH_LINES" --numeric-suffixes --suffix-length 4 "$WORK/load.ndjson" "$WORK/batch-"
BATCHES=("$WORK"/batch-*)
LINES=0
ACKED=()

# post FILE: the status of the answer; the answer itself and its head are left in $WORK.
post() {
  curl --silent --noproxy '*' --max-time 60 --output "$WORK/answer" --dump-header "$WORK/head" \
    --write-out '%{http_code}' --data-binary "@$1" -H 'Content-Type: application/x-ndjson' "$URL/api/v1/logs" || true
}

# Sends batches, the first ones that were not acknowledged, until one is refused or none is left.
send_all() {
  local file status
  STATUS=200
  for file in "${BATCHES[@]:${#ACKED[@]}}"; do
    ((${#ACKED[@]} < BATCHES_MAX)) || return 0
    status=$(post "$file")
    if [[ $status != 200 ]]; then
      STATUS=$status
      return 0
    fi
    ACKED+=("$file")
    LINES=$((LINES + $(wc -l <"$file")))
  done
}

check_store() {
  check "$1: records" "$LINES" "$(sql_value 'select count(*) as n from agent_logs')"
  check "$1: different requests" "$LINES" "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
}

echo "a disk that fills up"
start_server "$DATA"
check_true "a second server is refused" grep -q "another driftline has .*the data open" <(
  timeout 60 "$BINARY" serve --data "$DATA" --listen 127.0.0.1:0 2>&1 >/dev/null || true)
# Something else takes most of the disk.
head --bytes "$((DISK_MIB / 2))M" /dev/zero >"$DISK/ballast"
send_all
check_true "some batches were acknowledged: ${#ACKED[@]}" test "${#ACKED[@]}" -gt 0
check "a batch for which there is no room is refused" 503 "$STATUS"
check_true "and told when to come back" grep -qi '^retry-after:' "$WORK/head"
check_store "on the full disk"
rm "$DISK/ballast"
room_again() {
  [[ $(post "${BATCHES[${#ACKED[@]}]}") == 200 ]]
}
if within 60 room_again; then
  ACKED+=("${BATCHES[${#ACKED[@]}]}")
  LINES=$((LINES + $(wc -l <"${ACKED[-1]}")))
  check "with room again a batch is taken" yes yes
else
  # A log whose fsync failed takes nothing until the next start, and says so.
  check "a log that failed says so" 503 "$(curl --silent --noproxy '*' --output /dev/null --write-out '%{http_code}' "$URL/readyz")"
fi
check_store "with room again"
kill_server
start_server "$DATA"
check_store "after a kill"
committed() {
  [[ $(fetch "$URL/api/v1/status" | json "d['books']['buffered']") == 0 ]]
}
within 60 committed || fail "the rows are not committed"
check "the first batch again is a duplicate" true "$(post "${ACKED[0]}" >/dev/null; json "d.get('duplicate', d)" <"$WORK/answer")"
stop_server
check_true "driftline verify finds nothing wrong" "$BINARY" verify --content --data "$DATA"

# lock_disk: nothing can be written below the data directory any more. The first way that works here, in HOW:
# the whole file system; one that is in use refuses that on many kernels, and then each file and directory.
lock_disk() {
  if mount -o remount,ro "$DISK" 2>/dev/null; then
    HOW="the file system is read-only"
  elif chattr -R +i "$DATA" 2>/dev/null; then
    HOW="its files are immutable"
  else
    return 1
  fi
}

unlock_disk() {
  mount -o remount,rw "$DISK" 2>/dev/null || true
  chattr -R -i "$DATA" 2>/dev/null || true
}

# check_start_refused WORD…: a server, started by these words, says which directory it cannot write.
check_start_refused() {
  timeout 60 "$@" "$BINARY" serve --data "$DATA" --listen 127.0.0.1:0 >/dev/null 2>"$WORK/refused" &&
    refused=no || refused=yes
  check "a start is refused" yes "$refused"
  check_true "and names the directory: $(tail -n 1 "$WORK/refused")" grep -q "the data" "$WORK/refused"
}

echo "a disk that turns read-only"
start_server "$DATA"
# This closes the log's segment: a file that is open can be written even where it is immutable.
curl --silent --noproxy '*' --max-time 60 --output /dev/null -H 'Content-Type: application/json' \
  --data '{"user_id":"nobody of this name"}' "$URL/api/v1/forget"
if lock_disk; then
  echo "while a server writes: $HOW"
  status=$(post "${BATCHES[${#ACKED[@]}]}")
  check_true "a batch is refused, with $status" test "$status" -ge 500
  check_store "on the read-only disk"
  kill_server
  unlock_disk
else
  echo "skipped: nothing here makes a file system read-only that is in use"
  kill_server
fi

echo "a start on a disk that is read-only"
if lock_disk; then
  echo "before a start: $HOW"
  check_start_refused env
  unlock_disk
else
  echo "skipped: nothing here makes a file system read-only"
fi

echo "a start by a user who may not write"
chmod 755 "$WORK" "$DISK"
if setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$BINARY" -a ! -w "$DATA" 2>/dev/null; then
  check_start_refused setpriv --reuid 65534 --regid 65534 --clear-groups
else
  echo "skipped: no other user can start the program here"
fi

start_server "$DATA"
check_store "once it can be written again"
stop_server
finish
