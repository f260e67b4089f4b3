# shellcheck shell=bash
# Do the alerts fire on real records, reach whom they should, and end? A real Prometheus and a real Alertmanager use
# the files of dashboards/prometheus/ on a real server. Sourced by check-prometheus.sh.
#
# Two Prometheus servers scrape one Driftline:
#
# - one has rules.yml as it is. What can fire within three minutes has to.
# - one has a copy in which sed has shortened windows, offsets, intervals and `for` (a day is 20 seconds), and
#   nothing else: thresholds, least numbers of calls and labels are those of rules.yml. It feeds Alertmanager, whose
#   configuration is a copy with shorter group waits and another port for the webhooks.

FILES=$ROOT/dashboards/prometheus
READY_SECONDS_MAX=60
CALM_SECONDS=60
FIRE_SECONDS_MAX=120
REAL_FIRE_SECONDS_MAX=240
RESOLVE_SECONDS_MAX=120

# succeeds NAME COMMAND…: shows the last lines where the command fails.
succeeds() {
  local name=$1 status=0
  shift
  "$@" >"$WORK/command.log" 2>&1 || status=$?
  ((status == 0)) || tail -n 20 "$WORK/command.log"
  check "$name: exit code" 0 "$status"
}

answers() {
  fetch --output /dev/null "$1" 2>/dev/null
}

# count PROMETHEUS QUERY: how many series it has.
count() {
  fetch --get --data-urlencode "query=$2" "$1/api/v1/query" 2>/dev/null | json "len(d['data']['result'])" 2>/dev/null
}
counts() {
  [[ $(count "$2" "$3") == "$1" ]]
}

routed() {
  python3 "$ROOT/scripts/prometheus/alerts.py" routed "$1" "$WORK/hooks.jsonl" >"$WORK/routed.log"
}

down() {
  python3 "$ROOT/scripts/prometheus/alerts.py" routed down "$WORK/hooks.jsonl" >"$WORK/routed.log"
}

check_alerts() {
  local hooks alertmanager real short address sender muted alert one prometheus status=0
  succeeds "promtool check config prometheus.yml" promtool check config "$FILES/prometheus.yml"
  succeeds "promtool check rules rules.yml" promtool check rules "$FILES/rules.yml"
  succeeds "promtool test rules" promtool test rules "$FILES/rules_test.yml" "$FILES/rules_days_test.yml"
  succeeds "amtool check-config alertmanager.yml" amtool check-config "$FILES/alertmanager.yml"
  check "alerts without a runbook" "" "$(python3 - "$FILES/rules.yml" "$ROOT/docs/runbooks.md" <<'PYTHON'
import re, sys
rules, runbooks = (open(path).read() for path in sys.argv[1:])
alerts = re.findall(r"^ +- alert: (\w+)$", rules, re.M)
links = re.findall(r"runbook_url: docs/runbooks.md#(\w+)$", rules, re.M)
sections = set(re.findall(r"^## (\w+)$", runbooks, re.M))
print(" ".join(a for a, l in zip(alerts, links, strict=True) if a not in sections or l != a.lower()))
PYTHON
  )"

  cat >"$WORK/driftline.toml" <<'TOML'
[metrics.tenants.near]
token_daily_quota = 26500
[metrics.tenants.past]
token_daily_quota = 12000
TOML
  start_server "$WORK/alerted" --config "$WORK/driftline.toml"

  hooks=$(free_port)
  alertmanager=$(free_port)
  python3 "$ROOT/scripts/prometheus/alerts.py" receive "$hooks" "$WORK/hooks.jsonl" &
  PIDS+=("$!")
  sed -E "s/127\.0\.0\.1:9094/127.0.0.1:$hooks/; s/(group_wait): .*/\1: 1s/; s/(group_interval): .*/\1: 2s/" \
    "$FILES/alertmanager.yml" >"$WORK/alertmanager.yml"
  succeeds "amtool check-config, shortened" amtool check-config "$WORK/alertmanager.yml"
  prometheus-alertmanager --config.file="$WORK/alertmanager.yml" --storage.path="$WORK/alertmanager" \
    --web.listen-address="127.0.0.1:$alertmanager" --cluster.listen-address= >"$WORK/alertmanager.log" 2>&1 &
  PIDS+=("$!")

  sed -E '
    s/^( +for): .*/\1: 2s/
    s/^( +interval): .*/\1: 1s/
    s/\[7d\]/[30s]/g; s/\[7d:1h\]/[30s:179ms]/g
    s/\[1d\]/[20s]/g; s/offset 1d/offset 20s/g
    s/\[6h\]/[60s]/g; s/\[1h\]/[10s]/g; s/offset 1h/offset 10s/g
    s/\[(5|10|15|30)m\]/[15s]/g; s/offset (5|10|15|30)m/offset 15s/g
  ' "$FILES/rules.yml" >"$WORK/short.yml"
  succeeds "promtool check rules, shortened" promtool check rules "$WORK/short.yml"

  start_prometheus real "$FILES/rules.yml" ""
  real=$PROMETHEUS
  start_prometheus short "$WORK/short.yml" "$alertmanager"
  short=$PROMETHEUS

  for address in "$real/-/ready" "$short/-/ready" "http://127.0.0.1:$alertmanager/-/ready"; do
    within "$READY_SECONDS_MAX" answers "$address" || fail "$address does not answer: $(tail -n 3 "$WORK"/*.log)"
  done

  # The traffic changes when these files appear.
  python3 "$ROOT/scripts/prometheus/alerts.py" send "$URL" "$WORK/bad" "$WORK/calm" >"$WORK/send.log" 2>&1 &
  sender=$!
  PIDS+=("$sender")
  echo "calm traffic for $CALM_SECONDS seconds"
  sleep "$CALM_SECONDS"
  check "alerts on calm traffic" 0 "$(count "$short" 'ALERTS{alertname=~"Llm.*"}')"
  check "dead man's switch" 1 "$(count "$short" 'ALERTS{alertname="DriftlineDeadMansSwitch",alertstate="firing"}')"

  echo "bad traffic"
  touch "$WORK/bad"
  within "$FIRE_SECONDS_MAX" routed firing || true
  # The agent that fails is slow as well, and its prompts are too long: these warnings have the cause of the critical
  # one. They fire, and must not have arrived when all others have, those of other causes about the agent among them.
  muted='ALERTS{alertname=~"LlmLatencyHigh|LlmContextOverflowHigh",agent_id="worse",alertstate="firing"}'
  within "$FIRE_SECONDS_MAX" counts 2 "$short" "$muted" || true
  check "warnings of the cause of a critical alert, in Prometheus" 2 "$(count "$short" "$muted")"
  check_true "all alerts fired and went to their receivers" routed firing
  cat "$WORK/routed.log"

  # On the rules as they are.
  for alert in DriftlineDeadMansSwitch LlmGuardrailBlocksHigh LlmTokenQuotaNear LlmTokenQuotaExceeded \
    LlmCircuitBreakerOpen; do
    one="count by (alertname) (ALERTS{alertname=\"$alert\",alertstate=\"firing\"})"
    within "$REAL_FIRE_SECONDS_MAX" counts 1 "$real" "$one" || true
    check "$alert fires on rules.yml unchanged" 1 "$(count "$real" "$one")"
  done
  for prometheus in "$real" "$short"; do
    check "rules that cannot be evaluated" "[]" "$(fetch "$prometheus/api/v1/rules" |
      json "[rule['name'] for group in d['data']['groups'] for rule in group['rules'] if rule['health'] != 'ok']")"
  done
  check "traces behind failed calls" true "$(fetch --get --data-urlencode 'query=llm_errors_total' \
    --data-urlencode "start=$(date -u -d '-10 minutes' +%s)" --data-urlencode "end=$(date -u +%s)" \
    "$real/api/v1/query_exemplars" |
    json "any(len(e['labels']['trace_id']) == 32 for s in d['data'] for e in s['exemplars'])")"
  fetch -H 'accept: text/plain' "$URL/metrics" | promtool check metrics >"$WORK/metrics.log" 2>&1 || status=$?
  check "promtool check metrics: exit code" 0 "$status"
  check "promtool check metrics: findings" "" "$(cat "$WORK/metrics.log")"
  check "commands of the runbooks that fail" "" \
    "$(python3 "$ROOT/scripts/prometheus/alerts.py" runbooks "$ROOT/docs/runbooks.md" "$BINARY" "$URL")"

  echo "calm traffic again"
  touch "$WORK/calm"
  within "$RESOLVE_SECONDS_MAX" routed resolved || true
  check_true "all alerts ended, and their receivers were told" routed resolved
  cat "$WORK/routed.log"
  running "$sender" || fail "the traffic ended: $(tail -n 3 "$WORK/send.log")"
  kill "$sender"

  stop_server
  within "$FIRE_SECONDS_MAX" down || true
  check_true "a stopped server raises an alert" down
  check "dead man's switch without a server" 0 "$(count "$short" 'ALERTS{alertname="DriftlineDeadMansSwitch"}')"
}
