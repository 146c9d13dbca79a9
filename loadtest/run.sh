#!/usr/bin/env bash
# Runs a scenario against a server that is already there: loadtest/run.sh smoke [k6 options]
# BASE_URL (http://127.0.0.1:8000), API_KEY and the settings of lib/config.ts come from the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

scenario=${1:?"usage: loadtest/run.sh SCENARIO [k6 options]; scenarios: $(cd "$here/scenarios" && echo *.ts | sed 's/\.ts//g')"}
shift

# K6, then the one that `make test-setup` installed, then the system's.
k6=${K6:-${CARGO_TARGET_DIR:-$here/../target}/test-venv/bin/k6}
[ -x "$k6" ] || k6=$(command -v k6) || { echo "k6 is missing: run 'make test-setup', or set K6" >&2; exit 1; }

export RESULT_FILE=${RESULT_FILE:-$here/results/$scenario-$(date +%Y%m%d-%H%M%S).json}
echo "$scenario against ${BASE_URL:-http://127.0.0.1:8000}, result in $RESULT_FILE"
exec "$k6" run --quiet --no-usage-report "$here/scenarios/$scenario.ts" "$@"
