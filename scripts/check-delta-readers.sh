#!/usr/bin/env bash
# Do other programs read the same figures from the Delta table as the server does?
#
# usage: scripts/check-delta-readers.sh
# Installs the Python packages deltalake and pyarrow, and duckdb and polars where they can be had,
# into an environment of its own that is removed at the end.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

INSTALL_SECONDS_MAX=300
PYTHON=$WORK/venv/bin/python

install() {
  timeout "$INSTALL_SECONDS_MAX" "$PYTHON" -m pip install --quiet --disable-pip-version-check \
    --only-binary :all: "$@" >"$WORK/pip.log" 2>&1
}

python3 -m venv "$WORK/venv" >"$WORK/venv.log" 2>&1 || skip "python3 has no venv"
install deltalake pyarrow || skip "the Python packages deltalake and pyarrow cannot be installed"
for package in duckdb polars; do
  install "$package" || echo "without $package, which cannot be installed"
done

"$BINARY" generate --seed 7 --start 2026-05-01T00:00:00Z --days 10 --rate 5000 -o "$WORK/load.ndjson"
lines=$(wc -l <"$WORK/load.ndjson")
start_server "$WORK/data"
"$BINARY" load "$WORK/load.ndjson" --url "$URL" >"$WORK/load.log" 2>&1 || fail "driftline load: $(tail -n 5 "$WORK/load.log")"
stop_server

start_server "$WORK/data"
check "records" "$lines" "$(sql_value 'select count(*) as n from agent_logs')"
# Times as µs since the epoch, which every reader can say.
sql 'select count(*) as records, sum(prompt_tokens) as prompt_tokens, count(cost_usd) as costs,
            sum(cost_usd) as cost_usd, count(distinct session_id) as sessions,
            cast(min(timestamp) as bigint) as first_us, cast(max(timestamp) as bigint) as last_us
     from agent_logs' >"$WORK/server.json"
for reader in deltalake deltalake-sql duckdb polars; do
  package=${reader%-sql}
  "$PYTHON" -c "import $package" 2>/dev/null || { echo "skipped: $package is not there"; continue; }
  check_true "$reader reads what the server says" \
    "$PYTHON" "$ROOT/scripts/delta_readers.py" "$reader" "$WORK/data/tables/agent_logs" "$WORK/server.json"
done
# The empty table has to be readable as well.
check "rejected lines, by deltalake" 0 \
  "$("$PYTHON" -c 'import sys; from deltalake import DeltaTable
print(DeltaTable(sys.argv[1]).to_pyarrow_dataset().count_rows())' "$WORK/data/tables/rejected_logs")"
stop_server
finish
