// Soak: a moderate load for hours, with viewers that come and go. Looks for what only grows: memory, files, latency.
import type { Options } from 'k6/options';
import { LEAD_SECONDS, number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { watch } from '../lib/watch.ts';
import { thresholds } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 5);
const SECONDS = number('DURATION_SECONDS', 4 * 3600);
const audience = new Audience(number('SOCKETS', 200));
/** Sockets that stay for `STAY_SECONDS` and are followed by others. */
const passing = new Audience(number('PASSING_SOCKETS', 40));
const STAY_SECONDS = number('STAY_SECONDS', 10);
/** Memory that is used for the first time is no leak: looking begins after a tenth of the run. */
const warmUp = LEAD_SECONDS + Math.ceil(SECONDS / 10);

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(SECONDS)),
    passing: {
      executor: 'per-vu-iterations',
      exec: 'passer',
      startTime: `${LEAD_SECONDS}s`,
      vus: passing.vus,
      iterations: Math.max(1, Math.floor(SECONDS / (STAY_SECONDS + 1))),
      maxDuration: `${SECONDS + STAY_SECONDS}s`,
    },
    publishers: publishers(RATE, hold(RATE, SECONDS)),
    watch: {
      executor: 'constant-arrival-rate',
      exec: 'watcher',
      startTime: `${warmUp}s`,
      rate: 1,
      timeUnit: `${number('WATCH_SECONDS', 5)}s`,
      duration: `${Math.max(1, SECONDS - warmUp + LEAD_SECONDS)}s`,
      preAllocatedVUs: 1,
    },
  },
  thresholds: {
    ...thresholds,
    server_memory_growth_percent: [`max<${number('MEMORY_GROWTH_PERCENT', 20)}`],
    // The passing sockets, once going and once coming, and a few of the database and of publishers.
    server_files_growth: [`max<${number('FILES_GROWTH', passing.sockets * 2 + 50)}`],
  },
  summaryTrendStats,
};

export function viewer(run: Run) {
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(SECONDS) });
}

export function passer(run: Run) {
  view({ ...passing.part(), run: run.name, seconds: STAY_SECONDS });
}

export function publisher(run: Run) {
  publish(run.targets);
}

export function watcher() {
  watch();
}
