// Stress: 1, 1.5, 2 and 3 times the rate of `load`, then back. Nothing may be lost, and afterwards it is as fast as before.
import type { Options } from 'k6/options';
import { LEAD_SECONDS, number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { overPeak } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 10);
const SECONDS = number('DURATION_SECONDS', 300);
const STEPS = [1, 1.5, 2, number('PEAK', 3), 1];
const audience = new Audience(number('SOCKETS', 400));

const step = Math.max(1, Math.floor(SECONDS / STEPS.length));
const seconds = step * STEPS.length;
/** What queued up in the last step has this long to go out. */
const RECOVERY_SECONDS = 2;
const recoveredAfter = LEAD_SECONDS + seconds - step + RECOVERY_SECONDS;

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(seconds)),
    publishers: publishers(
      RATE,
      STEPS.flatMap((factor) => hold(Math.round(RATE * factor), step)),
    ),
  },
  thresholds: overPeak(number('PEAK_P95_MS', 500)),
  summaryTrendStats,
};

export function viewer(run: Run) {
  const recoveredFromMs = run.startedAtMs + recoveredAfter * 1000;
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(seconds), recoveredFromMs });
}

export function publisher(run: Run) {
  publish(run.targets);
}
