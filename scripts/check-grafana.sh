#!/usr/bin/env bash
# Does Grafana's own code take what /grafana answers, and are our dashboards what Grafana has for dashboards?
#
# usage: scripts/check-grafana.sh [STEP…]
# STEPs are these, all where none is named:
#
#   targets     every target of every dashboard of the Driftline variant, and every variable, goes to a real server of
#               generated data as the plugin sends it, and the answer through the real toDataFrame of @grafana/data; so
#               do requests with every operator of filters, with fields that lack and that nobody knows
#   schema      the dashboards have the types of @grafana/schema, checked by TypeScript
#   prometheus  promtool takes every expression of the Prometheus variant
#   generated   the committed dashboards are what their script makes
#
# Needs node and npm, which fetches packages, for the first two, and promtool for the third; a step whose tools cannot
# be had is skipped, and says so.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

STEPS=("$@")
((${#STEPS[@]} > 0)) || STEPS=(targets schema prometheus generated)
GRAFANA=13.2.3
NPM_SECONDS_MAX=600
DAYS=2

# npm_packages: installs what the scripts import, once; false where that is not possible.
npm_packages() {
  [[ ! -d $WORK/npm/node_modules/@grafana/data ]] || return 0
  command -v node >/dev/null && command -v npm >/dev/null || return 1
  mkdir -p "$WORK/npm"
  # $NODE_MODULES: packages that are there already, from an earlier run for instance.
  if [[ -n ${NODE_MODULES:-} ]]; then
    ln -s "$(realpath "$NODE_MODULES")" "$WORK/npm/node_modules"
    return 0
  fi
  echo '{"private": true}' >"$WORK/npm/package.json"
  (cd "$WORK/npm" && timeout "$NPM_SECONDS_MAX" npm install --legacy-peer-deps --ignore-scripts --no-audit --no-fund \
    "@grafana/data@$GRAFANA" "@grafana/schema@$GRAFANA" react@18 react-dom@18 rxjs typescript@5) >"$WORK/npm.log" 2>&1
}

# claims COMMAND…: a script that prints "pass NAME" and "FAIL NAME: why", each of them a check.
claims() {
  local line printed=0
  while IFS= read -r line; do
    case $line in
      "pass "*) check_true "${line#pass }" true && printed=$((printed + 1)) ;;
      "FAIL "*) check_true "${line#FAIL }" false && printed=$((printed + 1)) || printed=$((printed + 1)) ;;
      *) echo "      $line" ;;
    esac
  done < <("$@" 2>&1 || echo "FAIL $1 $2 ended by itself")
  check_true "$2 claimed something" test "$printed" -gt 0
}

check_targets() {
  npm_packages || { echo "skipped: targets, npm and its packages cannot be had"; return 0; }
  local start
  start=$(date -u -d "-$DAYS days" +%Y-%m-%dT%H:%M:%SZ)
  "$BINARY" generate --seed 5 --start "$start" --days "$DAYS" --rate 2000 -o "$WORK/calls.ndjson"
  start_server "$WORK/data"
  "$BINARY" load "$WORK/calls.ndjson" --url "$URL" >"$WORK/load.log" 2>&1 || fail "driftline load: $(tail -n 5 "$WORK/load.log")"
  cp "$ROOT"/scripts/grafana/*.mjs "$WORK/npm/"
  claims node "$WORK/npm/targets.mjs" "$URL" "$ROOT/dashboards/grafana/driftline"
  stop_server
}

check_schema() {
  npm_packages || { echo "skipped: schema, npm and its packages cannot be had"; return 0; }
  cp "$ROOT"/scripts/grafana/*.mjs "$WORK/npm/"
  claims node "$WORK/npm/schema.mjs" "$WORK/npm" "$ROOT/dashboards/grafana"
}

check_prometheus() {
  command -v promtool >/dev/null || { echo "skipped: prometheus, promtool is not installed"; return 0; }
  claims python3 "$ROOT/scripts/grafana/expressions.py" "$ROOT/dashboards/grafana/prometheus" "$WORK"
}

check_generated() {
  check_true "the dashboards are what their script makes" python3 "$ROOT/scripts/grafana/dashboards.py" --check
}

for step in "${STEPS[@]}"; do
  declare -F "check_$step" >/dev/null || fail "there is no step $step"
  began=$SECONDS
  "check_$step"
  echo "$step: $((SECONDS - began)) s"
done
finish
