#!/usr/bin/env bash
# What happens on a disk that fills up, on one that turns read-only, and when a second server comes?
#
# usage: scripts/check-disk.sh [SEED]
# The data directory is on a small file system of its own, at a path with spaces. Skipped where none may be mounted.
# It is an ext4 image, which alone can turn read-only in use, as after an error; else in memory. Batches are sent until the disk is full; whatever was acknowledged must be there once: while
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

mount_image() {
  mount -o loop,errors=remount-ro "$WORK/image" "$DISK" 2>/dev/null
}

make_image() {
  truncate --size "${DISK_MIB}M" "$WORK/image" && mkfs.ext4 -q -m 0 -F "$WORK/image" 2>/dev/null && mount_image
}

mkdir "$DISK"
IMAGE=yes
if ! make_image; then
  IMAGE=no
  mount -t tmpfs -o "size=${DISK_MIB}m" tmpfs "$DISK" 2>/dev/null || skip "no file system may be mounted here"
fi
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

echo "a disk that turns read-only"
start_server "$DATA"
if [[ $IMAGE == yes ]]; then
  mount -o remount,abort "$DISK"
  status=$(post "${BATCHES[${#ACKED[@]}]}")
  check_true "a batch is refused, with $status" test "$status" -ge 500
  check_store "on the read-only disk"
  kill_server
else
  echo "without a server at work, for which an ext4 image would have to be mounted"
  kill_server
  mount -o remount,ro "$DISK"
fi
"$BINARY" serve --data "$DATA" --listen 127.0.0.1:0 >/dev/null 2>"$WORK/refused" && refused=no || refused=yes
check "a start is refused" yes "$refused"
check_true "and names the directory: $(tail -n 1 "$WORK/refused")" grep -q "the data" "$WORK/refused"
if [[ $IMAGE == yes ]]; then
  umount "$DISK"
  # 1 says that errors were corrected.
  e2fsck -p "$WORK/image" >/dev/null || (($? == 1)) || fail "the image is damaged"
  mount_image || fail "the image cannot be mounted again"
else
  mount -o remount,rw "$DISK"
fi
start_server "$DATA"
check_store "once it can be written again"
stop_server
finish
