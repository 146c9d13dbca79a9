// Breakpoint: the rate rises until a bound breaks, which ends the run with 99: `rounds_per_second` is the limit.
// A run that reaches MAX_RATE ends with 0: the limit lies above.
import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';
import type { Options } from 'k6/options';
import { number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { untilBroken } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 5);
const MAX_RATE = number('MAX_RATE', 200);
const SECONDS = number('DURATION_SECONDS', 300);
const audience = new Audience(number('SOCKETS', 200));

/** The rate that publishers have been asked for; where it stands at the end is the result. */
const rounds = new Gauge('rounds_per_second');

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(SECONDS)),
    publishers: publishers(RATE, [{ target: MAX_RATE, duration: `${SECONDS}s` }]),
  },
  thresholds: untilBroken(),
  summaryTrendStats,
};

export function viewer(run: Run) {
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(SECONDS) });
}

export function publisher(run: Run) {
  rounds.add(RATE + (MAX_RATE - RATE) * Math.min(1, exec.scenario.progress));
  publish(run.targets);
}
