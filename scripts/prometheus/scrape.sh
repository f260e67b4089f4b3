# shellcheck shell=bash
# Does a real Prometheus accept and understand /metrics, and does promtool find nothing to say? Sourced by
# check-prometheus.sh.

SCRAPE_SECONDS_MAX=60
MINUTES=10
TEXT=text/plain
OPENMETRICS=application/openmetrics-text

# scrape ACCEPT NAME: keeps the body and prints the content type.
scrape() {
  fetch -H "accept: $1" --output "$WORK/$2" --write-out '%{content_type}' "$URL/metrics"
}

# prom QUERY: the only value of the only series; false where there is none.
prom() {
  fetch --get --data-urlencode "query=$1" "$PROMETHEUS/api/v1/query" 2>/dev/null |
    json "d['data']['result'][0]['value'][1]" 2>/dev/null
}
prom_is() {
  [[ $(prom "$2") == "$1" ]]
}

check_scrape() {
  local start tokens status=0 findings query
  # Records of the last minutes: a day is generated, and what lies in the future is left out.
  start=$(date -u -d "-$MINUTES minutes" +%Y-%m-%dT%H:%M:%SZ)
  "$BINARY" generate --seed 7 --start "$start" --days 1 --rate 50000 -o "$WORK/day.ndjson"
  python3 - "$WORK/day.ndjson" "$WORK/recent.ndjson" <<'PYTHON'
import datetime, json, sys
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
with open(sys.argv[1]) as day, open(sys.argv[2], "w") as recent:
    recent.writelines(line for line in day if json.loads(line)["timestamp"] < now)
PYTHON
  rm "$WORK/day.ndjson"
  tokens=$(python3 - "$WORK/recent.ndjson" <<'PYTHON'
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
print(sum((r.get("prompt_tokens") or 0) + (r.get("completion_tokens") or 0) for r in records))
PYTHON
  )
  echo "$(wc -l <"$WORK/recent.ndjson") records of the last $MINUTES minutes, $tokens tokens"
  ((tokens > 0)) || fail "no recent record was generated"

  start_server "$WORK/scraped"
  "$BINARY" load "$WORK/recent.ndjson" --url "$URL" >"$WORK/load.log" 2>&1 || fail "driftline load: $(tail -n 5 "$WORK/load.log")"

  check "content type of the text format" "text/plain; version=0.0.4; charset=utf-8" \
    "$(scrape "$TEXT;version=0.0.4" metrics.txt)"
  check "content type of OpenMetrics" "$OPENMETRICS; version=1.0.0; charset=utf-8" \
    "$(scrape "$OPENMETRICS;version=1.0.0" metrics.openmetrics)"
  check "end of OpenMetrics" "# EOF" "$(tail -n 1 "$WORK/metrics.openmetrics")"
  check "ends of OpenMetrics in the text format" 0 "$(grep -c '^# EOF' "$WORK/metrics.txt" || true)"
  fetch --compressed --output "$WORK/metrics.gz.txt" "$URL/metrics"
  check_true "a compressed scrape has the token counter" grep -q '^llm_tokens_total{' "$WORK/metrics.gz.txt"
  findings=$(promtool check metrics <"$WORK/metrics.txt" 2>&1) || status=$?
  check "promtool check metrics: exit code" 0 "$status"
  check "promtool check metrics: findings" "" "$findings"

  start_prometheus scrape "" ""
  if ! within "$SCRAPE_SECONDS_MAX" prom_is 1 'up{job="driftline"}'; then
    tail -n 5 "$WORK/scrape.log"
  fi
  check "up" 1 "$(prom 'up{job="driftline"}' || echo none)"
  within "$SCRAPE_SECONDS_MAX" prom_is "$tokens" 'sum(llm_tokens_total)' || true
  check "sum of llm_tokens_total" "$tokens" "$(prom 'sum(llm_tokens_total)' || echo none)"
  for query in 'count(llm_tokens_total)' 'sum(llm_cost_usd_total)' 'sum(llm_request_duration_seconds_count)' \
    'histogram_quantile(0.95, sum by (le) (llm_request_duration_seconds_bucket))' \
    'scrape_samples_scraped{job="driftline"}' 'scrape_duration_seconds{job="driftline"}'; do
    echo "      $query = $(prom "$query" || echo none)"
  done
  # Every panel's expression is asked of what was scraped.
  python3 "$ROOT/scripts/grafana/expressions.py" "$ROOT/dashboards/grafana/prometheus" "$WORK" "$PROMETHEUS" \
    >"$WORK/expressions.txt" || echo "FAIL expressions.py ended by itself" >>"$WORK/expressions.txt"
  while read -r verdict said; do
    check_true "$said" test "$verdict" = pass
  done <"$WORK/expressions.txt"
  stop_server
}
