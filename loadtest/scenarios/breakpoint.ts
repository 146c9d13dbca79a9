// Breakpoint: the rate rises until a bound breaks, and the run ends there: that rate is the answer.
import type { Options } from 'k6/options';
import { DELIVERY_P95_MS, PEAK_RATE, RATE } from '../lib/config.ts';
import { mixed, part } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';

/** Only these end the run; that publishers are dropped is the point of it. */
const bounds: Options['thresholds'] = {
  ws_delivery_latency: [{ threshold: `p(95)<${DELIVERY_P95_MS}`, abortOnFail: true, delayAbortEval: '10s' }],
  http_req_failed: [{ threshold: 'rate<0.01', abortOnFail: true, delayAbortEval: '10s' }],
  ws_lost: ['count==0'],
  ws_duplicated: ['count==0'],
};

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

export const options = mixed([{ duration: part(1), target: PEAK_RATE }], bounds);

export const handleSummary = summarize;
