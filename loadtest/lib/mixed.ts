// The shape that most scenarios share: sockets on two feeds, publishers in an open model. They differ in how the rate of
// the publishers goes.
import exec from 'k6/execution';
import type { Options, Scenario } from 'k6/options';
import { thresholds as strict } from '../thresholds.ts';
import { DRAIN_SECONDS, DURATION_SECONDS, LEAD_SECONDS, PUBLISHERS, RATE, SOCKETS } from './config.ts';
import type { Target } from './payload.ts';
import { makeTargets, publish, removeTargets } from './publisher.ts';
import { view } from './viewer.ts';

const FEEDS = ['/ws/inventory', '/ws/price'];
const VIEW_SECONDS = LEAD_SECONDS + DURATION_SECONDS + DRAIN_SECONDS;

export interface Run {
  /** Begins every SKU of this run, so that runs against one server do not mix. */
  name: string;
  targets: Target[];
}

type Stages = { duration: string; target: number }[];

/** Publishers at one rate, or through `stages` of rates that begin at RATE. */
export function mixed(stages?: Stages, thresholds: Options['thresholds'] = strict): Options {
  const common = {
    exec: 'publisher',
    startTime: `${LEAD_SECONDS}s`,
    timeUnit: '1s',
    preAllocatedVUs: PUBLISHERS,
    gracefulStop: `${DRAIN_SECONDS}s`,
  };
  const publishers: Scenario =
    stages === undefined
      ? { ...common, executor: 'constant-arrival-rate', rate: RATE, duration: `${DURATION_SECONDS}s` }
      : { ...common, executor: 'ramping-arrival-rate', startRate: RATE, stages };
  return {
    scenarios: {
      viewers: {
        executor: 'per-vu-iterations',
        exec: 'viewer',
        vus: FEEDS.length,
        iterations: 1,
        maxDuration: `${VIEW_SECONDS + 5}s`,
      },
      publishers,
    },
    thresholds,
    summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
    setupTimeout: '120s',
    teardownTimeout: '120s',
  };
}

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

/** A share of the run, as a stage wants it. */
export function part(share: number): string {
  return `${Math.max(1, Math.round(DURATION_SECONDS * share))}s`;
}
