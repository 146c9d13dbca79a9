// What every scenario shares: the run's items, and the k6 executors under names that say what they are for.
import exec from 'k6/execution';
import type { PerVUIterationsScenario, RampingArrivalRateScenario, Stage } from 'k6/options';
import { DRAIN_SECONDS, LEAD_SECONDS, PUBLISHERS } from './config.ts';
import type { Target } from './payload.ts';
import { makeTargets, removeTargets } from './publisher.ts';

export { summarize as handleSummary } from './summary.ts';

export const FEEDS = ['/ws/inventory', '/ws/price'];
/** A VU's loop is one thread, and costs k6 three times as much as a socket. */
const SOCKETS_A_VU = 500;

export const summaryTrendStats = ['med', 'p(95)', 'p(99)', 'max', 'count'];

export interface Run {
  /** Begins every SKU of this run, so that runs against one server do not mix. */
  name: string;
  startedAtMs: number;
  targets: Target[];
}

/** Makes an item for every VU that may publish. */
export function setup(): Run {
  const name = `LT${Date.now().toString(36).toUpperCase()}`;
  let vus = 0;
  for (const scenario of Object.values(exec.test.options.scenarios ?? {})) {
    const { vus: fixed = 0, preAllocatedVUs = 0, maxVUs = 0 } = scenario as { vus?: number; preAllocatedVUs?: number; maxVUs?: number };
    vus += fixed + Math.max(preAllocatedVUs, maxVUs);
  }
  const targets = makeTargets(name, vus);
  return { name, startedAtMs: Date.now(), targets };
}

export function teardown(run: Run) {
  removeTargets(run.targets);
}

/** How the sockets of a scenario are spread over feeds and VUs. */
export class Audience {
  readonly vus: number;

  constructor(readonly sockets: number) {
    this.vus = FEEDS.length * Math.max(1, Math.ceil(sockets / FEEDS.length / SOCKETS_A_VU));
  }

  /** k6's executor: each VU looks once, for `seconds`. */
  scenario(fn: string, seconds: number, startSeconds = 0): PerVUIterationsScenario {
    return {
      executor: 'per-vu-iterations',
      exec: fn,
      startTime: `${startSeconds}s`,
      vus: this.vus,
      iterations: 1,
      maxDuration: `${seconds + 10}s`,
    };
  }

  /** The part of the VU that runs now. `iterationInTest` numbers a scenario's iterations from 0. */
  part(): { path: string; sockets: number } {
    const index = exec.scenario.iterationInTest % this.vus;
    const sockets = Math.floor(this.sockets / this.vus) + (index < this.sockets % this.vus ? 1 : 0);
    return { path: FEEDS[index % FEEDS.length] as string, sockets };
  }
}

/** Rounds a second over time, an open model: a slow server does not slow the publishers down. */
export function publishers(rate: number, stages: Stage[], fn = 'publisher'): RampingArrivalRateScenario {
  return {
    executor: 'ramping-arrival-rate',
    exec: fn,
    startTime: `${LEAD_SECONDS}s`,
    startRate: rate,
    timeUnit: '1s',
    stages,
    preAllocatedVUs: PUBLISHERS,
    gracefulStop: `${DRAIN_SECONDS}s`,
  };
}

/** `rate` for `seconds`; the change to it takes no time. */
export function hold(rate: number, seconds: number): Stage[] {
  return [
    { target: rate, duration: '0s' },
    { target: rate, duration: `${seconds}s` },
  ];
}

/** From opening the sockets to settling their books, when publishers run for `seconds`. */
export function viewSeconds(seconds: number): number {
  return LEAD_SECONDS + seconds + DRAIN_SECONDS;
}
