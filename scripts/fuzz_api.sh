#!/bin/sh
# Fuzzes the HTTP API from its own OpenAPI page: scripts/fuzz_api.sh [CASES OF A ROUTE]
# Needs schemathesis: python3 -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install schemathesis
# (SCHEMATHESIS=/tmp/fuzz/bin/schemathesis). positive_data_acceptance is left out: a schema cannot
# say that a prompt is too long, or that a JSON schema in it does not compile. One worker: with
# more, CPython 3.11 trips while schemathesis makes its cases (AST constructor recursion depth).
set -eu
cd "$(dirname "$0")/.."
port=${PORT:-8931}
"${PYTHON:-.venv/bin/python}" -m scripts.fuzz_server "$port" &
server=$!
trap 'kill $server' EXIT
until curl -sf "http://127.0.0.1:$port/health"; do kill -0 $server; sleep 1; done
memory() { awk '/VmRSS/ {print $2 " KiB"}' "/proc/$server/status"; }
echo "memory before: $(memory)"
status=0
"${SCHEMATHESIS:-schemathesis}" run "http://127.0.0.1:$port/openapi.json" --no-color \
    --phases coverage,fuzzing --max-examples "${1:-500}" --workers 1 --continue-on-failure --no-shrink --seed 1 \
    --exclude-checks positive_data_acceptance --request-timeout 120 || status=$?
echo "memory after: $(memory)"
exit $status
