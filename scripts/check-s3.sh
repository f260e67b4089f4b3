#!/usr/bin/env bash
# Does everything hold when the tables are on S3, and the store fails in every way it can while the server is
# killed and started again?
#
# usage: scripts/check-s3.sh [SEED] [RECORDS] [KIND] [STEP…]
# KIND is the S3 server as s3_server.py knows it: ceph, moto or auto. Skipped where none can be had. A fault proxy
# stands between the server and the store; the seed chooses when kills come, and which requests a fault hits.
# STEPs are those of s3/, all of them in this order where none is named:
#
#   loads      about RECORDS under each fault, each acknowledged one is there once; a store that is away; at the end
#              the Python package deltalake reads the table past the proxy, where it can be installed
#   lifecycle  files are joined, compressed harder, rid of a user's records and moved to a cold store: the same
#              records before and after
#   multipart  files that are uploaded in parts, of which some are lost
#   writers    a second server on the same tables, and another program that commits to them
#   rollups    what is answered from rollups and what the calls say
#   crash      the tests' own crash harness ($CRASH_KILLS kills, 20) with its tables there, which wants cargo
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SEED=${1:-1}
RECORDS=${2:-40000}
KIND=${3:-auto}
STEPS=("${@:4}")
((${#STEPS[@]} > 0)) || STEPS=(loads lifecycle multipart writers rollups crash)
# A day of a load of small files.
SMALL_RECORDS=400
RANDOM=$SEED

for file in store tables "${STEPS[@]}"; do
  [[ -r $ROOT/scripts/s3/$file.sh ]] || fail "there is no step $file"
  # shellcheck source=/dev/null
  source "$ROOT/scripts/s3/$file.sh"
done
trap 'end_store; clean_up' EXIT

export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=driftline AWS_SECRET_ACCESS_KEY=driftline-secret AWS_ALLOW_HTTP=true
export AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL
unset AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_REGION
unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
start_store "$KIND"
objects create-bucket "$ARCHIVE"
start_proxy "$SEED"
# So that what hangs is given up soon, and a slow store has the time for a file.
export DRIFTLINE_STORAGE_REQUEST_TIMEOUT_S=10 DRIFTLINE_STORAGE_RETRY_TIMEOUT_S=30
export DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS=500 DRIFTLINE_QUERY_TIMEOUT_S=30
echo "seed $SEED"
for step in "${STEPS[@]}"; do
  began=$SECONDS
  "check_$step"
  echo "$step: $((SECONDS - began)) s"
done
finish
