// Slow consumer: some readers freeze until the server gives them up. Only they may be closed, and only with 3008; nobody
// else is to notice.
import type { Options } from 'k6/options';
import { LEAD_SECONDS, number } from '../lib/config.ts';
import { publish } from '../lib/publisher.ts';
import { Audience, FEEDS, hold, publishers, type Run, summaryTrendStats, viewSeconds } from '../lib/run.ts';
import { freeze } from '../lib/slow.ts';
import { view } from '../lib/viewer.ts';
import { thresholds } from '../thresholds.ts';

export { handleSummary, setup, teardown } from '../lib/run.ts';

const RATE = number('RATE', 10);
const SECONDS = number('DURATION_SECONDS', 40);
const SLOW = number('SLOW', 10);
/** Large messages, so that the kernel's buffers and the server's bound are full in seconds. */
const PADDING = 'x'.repeat(number('PADDING_BYTES', 65536));
const audience = new Audience(number('SOCKETS', 40));

export const options: Options = {
  scenarios: {
    viewers: audience.scenario('viewer', viewSeconds(SECONDS)),
    slow: {
      executor: 'per-vu-iterations',
      exec: 'slow',
      startTime: `${LEAD_SECONDS}s`,
      vus: SLOW,
      iterations: 1,
      maxDuration: `${SECONDS + 15}s`,
    },
    publishers: publishers(RATE, hold(RATE, SECONDS)),
  },
  thresholds: {
    ...thresholds,
    ws_slow_otherwise: ['count==0'],
    // Without one the run has not shown anything: publish more, or for longer.
    ws_slow_told: ['count>0'],
  },
  summaryTrendStats,
};

export function viewer(run: Run) {
  view({ ...audience.part(), run: run.name, seconds: viewSeconds(SECONDS) });
}

export function slow(run: Run) {
  freeze({ path: FEEDS[0] as string, run: run.name, seconds: SECONDS, frozenSeconds: SECONDS / 2 });
}

export function publisher(run: Run) {
  publish(run.targets, PADDING);
}
