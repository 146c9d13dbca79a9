// Smoke, under 40 s: a hundred sockets on two feeds, publishers in an open model. Runs in CI.
import exec from 'k6/execution';
import type { Options } from 'k6/options';
import { DRAIN_SECONDS, LEAD_SECONDS, PUBLISHERS, RATE, DURATION_SECONDS, SOCKETS } from '../lib/config.ts';
import type { Target } from '../lib/payload.ts';
import { makeTargets, publish, removeTargets } from '../lib/publisher.ts';
import { summarize } from '../lib/summary.ts';
import { view } from '../lib/viewer.ts';
import { thresholds } from '../thresholds.ts';

const FEEDS = ['/ws/inventory', '/ws/price'];
const VIEW_SECONDS = LEAD_SECONDS + DURATION_SECONDS + DRAIN_SECONDS;

interface Run {
  /** Begins every SKU of this run, so that runs against one server do not mix. */
  name: string;
  targets: Target[];
}

export const options: Options = {
  scenarios: {
    viewers: {
      executor: 'per-vu-iterations',
      exec: 'viewer',
      vus: FEEDS.length,
      iterations: 1,
      maxDuration: `${VIEW_SECONDS + 5}s`,
    },
    publishers: {
      executor: 'constant-arrival-rate',
      exec: 'publisher',
      startTime: `${LEAD_SECONDS}s`,
      rate: RATE,
      timeUnit: '1s',
      duration: `${DURATION_SECONDS}s`,
      preAllocatedVUs: PUBLISHERS,
      gracefulStop: `${DRAIN_SECONDS}s`,
    },
  },
  thresholds,
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
};

export function setup(): Run {
  const name = `LT${Date.now().toString(36).toUpperCase()}`;
  return { name, targets: makeTargets(name, FEEDS.length + PUBLISHERS) };
}

export function viewer(run: Run) {
  // `iterationInTest` of this scenario numbers the viewers from 0.
  view(FEEDS[exec.scenario.iterationInTest % FEEDS.length] as string, run.name, SOCKETS, VIEW_SECONDS);
}

export function publisher(run: Run) {
  publish(run.targets);
}

export function teardown(run: Run) {
  removeTargets(run.targets);
}

export const handleSummary = summarize;
