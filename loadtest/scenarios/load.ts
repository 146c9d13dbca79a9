// Load: what a busy day looks like. Twice as many viewers as a large class, and several changes a second, for minutes.
import type { Options } from 'k6/options';
import { number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { thresholds } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 10);
const SECONDS = number('DURATION_SECONDS', 300);
const audience = new Audience(number('SOCKETS', 400));

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(SECONDS)),
    publishers: publishers(RATE, hold(RATE, SECONDS)),
  },
  thresholds,
  summaryTrendStats,
};

export function viewer(run: Run) {
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(SECONDS) });
}

export function publisher(run: Run) {
  publish(run.targets);
}
