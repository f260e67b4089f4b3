#!/usr/bin/env bash
# Do known figures of real data come out, over HTTP, and does nothing change when it all comes again?
#
# usage: scripts/check-real-data.sh DIRECTORY
# DIRECTORY holds aider.ndjson.gz, azure-code.ndjson.gz and azure-conv.ndjson.gz.
set -euo pipefail

(($# == 1)) || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
FILES=()
for name in aider azure-code azure-conv; do
  file=$1/$name.ndjson.gz
  [[ -r $file ]] || { echo "skipped: $file is not there"; exit 0; }
  FILES+=("$(realpath "$file")")
done
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ROWS=33768

# The two samples of a drift pair, compared by one column.
ks() {
  sql_value "select ks_test($1, agent_id = 'azure_conv') as ks from agent_logs
             where agent_id in ('azure_code', 'azure_conv')" "'%.4f' % v['statistic']"
}

check_figures() {
  check "rows" "$ROWS" "$(sql_value 'select count(*) as n from agent_logs')"
  check "different requests" "$ROWS" "$(sql_value 'select count(distinct request_id) as n from agent_logs')"
  check "rejected lines" 0 "$(sql_value 'select count(*) as n from rejected_logs')"
  check "reported cost, to the cent" 10182.70 \
    "$(sql_value 'select sum(cost_usd) as usd from agent_logs' "'%.2f' % v")"
  check "most expensive call" "9990.01 on 2025-05-07" \
    "$(sql 'select cost_usd, timestamp from agent_logs where cost_usd is not null order by cost_usd desc limit 1' |
      json "'%.2f on %s' % (d[0]['cost_usd'], d[0]['timestamp'][:10])")"
  check "longest prompt" 913414 "$(sql_value 'select max(prompt_tokens) as n from agent_logs')"
  check "KS of prompt tokens" 0.3460 "$(ks prompt_tokens)"
  check "KS of completion tokens" 0.8097 "$(ks completion_tokens)"
}

# post FILE DUPLICATE: one request with the whole file.
post() {
  local name lines answer
  name=$(basename "$1")
  lines=$(gzip -dc "$1" | wc -l)
  answer=$(fetch -H 'content-type: application/x-ndjson' -H 'content-encoding: gzip' \
    --data-binary "@$1" "$URL/api/v1/logs") || fail "$name was refused: $answer"
  check "$name: accepted, rejected, duplicate" "$lines 0 $2" \
    "$(json "'%d %d %s' % (d['accepted'], len(d['rejected']), d.get('duplicate', False))" <<<"$answer")"
}

load() {
  "$BINARY" load "${FILES[@]}" --url "$URL" >"$WORK/load.log" 2>&1 || fail "driftline load: $(tail -n 5 "$WORK/load.log")"
}

need gzip
echo "one request per file"
start_server "$WORK/posted"
for file in "${FILES[@]}"; do post "$file" False; done
check_figures
echo "the same requests again"
for file in "${FILES[@]}"; do post "$file" True; done
check_figures
stop_server
echo "after a restart, from committed files"
start_server "$WORK/posted"
for file in "${FILES[@]}"; do post "$file" True; done
check_figures
stop_server

echo "by driftline load, twice"
start_server "$WORK/loaded"
load
check_figures
load
check_figures
stop_server
finish
