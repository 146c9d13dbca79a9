// Reconnect storm: all sockets are closed and opened again in one moment, with no random delay, while messages go on.
import type { Options } from 'k6/options';
import { LEAD_SECONDS, number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { view } from '../lib/viewer.ts';
import { overPeak } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 1);
const STORMS = number('STORMS', 2);
const audience = new Audience(number('SOCKETS', 5000));

/** Enough for the bound, and to see that the storm is over. */
const APART_SECONDS = number('APART_SECONDS', 10);
const seconds = APART_SECONDS * (STORMS + 1);
const storms = Array.from({ length: STORMS }, (_, i) => LEAD_SECONDS + APART_SECONDS * (i + 1));

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(seconds)),
    publishers: publishers(RATE, hold(RATE, seconds)),
  },
  thresholds: {
    // While the crowd comes back k6 is busy with it, so deliveries are timed where it is over.
    ...overPeak(number('PEAK_P95_MS', 5000)),
    // From the moment of the storm to the answered handshake, of each socket.
    ws_back_after: [`max<${number('BACK_WITHIN_MS', 5000)}`],
    ws_came_back: [`count==${audience.sockets * STORMS}`],
  },
  summaryTrendStats,
};

export function viewer(run: Run) {
  const over = LEAD_SECONDS + APART_SECONDS * STORMS + APART_SECONDS / 2;
  const recoveredFromMs = run.startedAtMs + over * 1000;
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(seconds), recoveredFromMs, storms });
}

export function publisher(run: Run) {
  publish(run.targets);
}
