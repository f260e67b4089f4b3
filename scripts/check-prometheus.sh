#!/usr/bin/env bash
# Does Prometheus, as Debian has it, scrape and understand /metrics, and do our alerts fire, reach whom they should by
# Alertmanager, and end?
#
# usage: scripts/check-prometheus.sh [STEP…]
# STEPs are those of prometheus/, both where none is named:
#
#   scrape  a real Prometheus scrapes a real server; promtool finds nothing wrong with what it says
#   alerts  promtool accepts and tests the rules; a real Prometheus and a real Alertmanager fire, route and clear
#           the alerts on real records; about four minutes
#
# Needs prometheus, promtool, prometheus-alertmanager and amtool; where one is missing and apt-get can be used, they
# are installed. Skipped where they cannot be had.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

STEPS=("$@")
((${#STEPS[@]} > 0)) || STEPS=(scrape alerts)
for step in "${STEPS[@]}"; do
  [[ -r $ROOT/scripts/prometheus/$step.sh ]] || fail "there is no step $step"
  # shellcheck source=/dev/null
  source "$ROOT/scripts/prometheus/$step.sh"
done

for command in prometheus promtool prometheus-alertmanager amtool; do
  if ! command -v "$command" >/dev/null; then
    install_packages prometheus prometheus-alertmanager
    break
  fi
done
need prometheus promtool prometheus-alertmanager amtool

# start_prometheus NAME RULES ALERTMANAGER_PORT: scrapes $URL; sets PROMETHEUS to its own address.
start_prometheus() {
  local port
  port=$(free_port)
  cat >"$WORK/prometheus-$1.yml" <<YAML
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: [${2:+"$2"}]
alerting:
  alertmanagers:
    - static_configs:
        - targets: [${3:+127.0.0.1:$3}]
scrape_configs:
  - job_name: driftline
    static_configs:
      - targets: ["${URL#http://}"]
YAML
  prometheus --config.file="$WORK/prometheus-$1.yml" --storage.tsdb.path="$WORK/$1.tsdb" \
    --enable-feature=exemplar-storage --web.listen-address="127.0.0.1:$port" >"$WORK/$1.log" 2>&1 &
  PIDS+=("$!")
  PROMETHEUS=http://127.0.0.1:$port
}

for step in "${STEPS[@]}"; do
  began=$SECONDS
  "check_$step"
  echo "$step: $((SECONDS - began)) s"
done
finish
