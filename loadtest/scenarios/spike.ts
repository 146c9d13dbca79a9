// Spike: the audience is five times as large and the rate five times as high within two seconds, and as soon gone.
import type { Options } from 'k6/options';
import { LEAD_SECONDS, number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { overPeak } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 5);
const PEAK_RATE = number('PEAK_RATE', 25);
const SECONDS = number('DURATION_SECONDS', 60);
const steady = new Audience(number('SOCKETS', 100));
const crowd = new Audience(number('PEAK_SOCKETS', 400));

/** Before, the peak itself, and after. */
const third = Math.max(4, Math.floor(SECONDS / 3));
const RISE_SECONDS = 2;
const seconds = 3 * third + 2 * RISE_SECONDS;
const peakAt = LEAD_SECONDS + third;
const peakSeconds = third + 2 * RISE_SECONDS;

export const options: Options = {
  scenarios: {
    viewers: steady.scenario('viewer', viewSeconds(seconds)),
    // They come and go in the middle of the stream, with the rate at its height.
    crowd: crowd.scenario('visitor', peakSeconds, peakAt),
    publishers: publishers(RATE, [
      ...hold(RATE, third),
      { target: PEAK_RATE, duration: `${RISE_SECONDS}s` },
      { target: PEAK_RATE, duration: `${third}s` },
      { target: RATE, duration: `${RISE_SECONDS}s` },
      { target: RATE, duration: `${third}s` },
    ]),
  },
  thresholds: overPeak(number('PEAK_P95_MS', 500)),
  summaryTrendStats,
};

export function viewer(run: Run) {
  const recoveredFromMs = run.startedAtMs + (peakAt + peakSeconds + RISE_SECONDS) * 1000;
  view({ ...steady.part(), run: run.name, seconds: viewSeconds(seconds), recoveredFromMs });
}

export function visitor(run: Run) {
  view({ ...crowd.part(), run: run.name, seconds: peakSeconds });
}

export function publisher(run: Run) {
  publish(run.targets);
}
