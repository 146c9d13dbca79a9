#!/usr/bin/env bash
# Runs a scenario against a server that is already there: loadtest/run.sh smoke [k6 options]
# BASE_URL (http://127.0.0.1:8000), API_KEY and the settings of the scenario come from the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage="usage: loadtest/run.sh SCENARIO [k6 options]; scenarios: $(cd "$here/scenarios" && echo *.ts | sed 's/\.ts//g')"
scenario=${1:?"$usage"}
shift
[ -f "$here/scenarios/$scenario.ts" ] || { echo "no scenario $scenario; $usage" >&2; exit 2; }

# K6, then the one that `make test-setup` installed, then the system's.
k6=${K6:-${CARGO_TARGET_DIR:-$here/../target}/test-venv/bin/k6}
[ -x "$k6" ] || k6=$(command -v k6) || { echo "k6 is missing: run 'make test-setup', or set K6" >&2; exit 1; }

# Busy and all clock ticks of the machine so far; nothing where there is no /proc.
ticks() { awk '/^cpu / { idle = $5 + $6; all = 0; for (i = 2; i <= 9; i++) all += $i; print idle, all }' /proc/stat 2>/dev/null || true; }

export RESULT_FILE=${RESULT_FILE:-$here/results/$scenario-$(date +%Y%m%d-%H%M%S).json}
mkdir -p "$(dirname "$RESULT_FILE")"
echo "$scenario against ${BASE_URL:-http://127.0.0.1:8000}, result in $RESULT_FILE"
# The collector four times as rare: less of k6's own CPU in the figures, for more memory.
export GOGC=${GOGC:-400}
before=$(ticks)
code=0
TIMEFORMAT='  k6: %U s of CPU and %S s in the kernel, in %R s'
time "$k6" run --quiet --no-usage-report --address 127.0.0.1:0 "$here/scenarios/$scenario.ts" "$@" || code=$?
after=$(ticks)

# With less than a fifth of the machine idle, the latencies are k6's own as much as the server's.
if [ -n "$before" ]; then
    echo "$before $after" | awk '{ idle = 100 * ($3 - $1) / ($4 - $2)
        printf "  machine: %.0f %% idle%s\n", idle, idle < 20 ? ": too little, k6 may be what is measured" : "" }'
fi
exit "$code"
