// Stress: from the load of a busy day to three times it in steps, and back. Latency may rise, nothing may be lost.
import { PEAK_RATE, RATE } from '../lib/config.ts';
import { mixed, part } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';
import { thresholds } from '../thresholds.ts';

// More may arrive than this machine can publish in time; what is accepted must still arrive.
const bounds = {
  ...thresholds,
  ws_delivery_latency: ['p(95)<2000'],
  ws_commit_latency: ['p(95)<2000'],
  http_req_duration: ['p(95)<2000'],
  dropped_iterations: ['count>=0'],
};

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

export const options = mixed([
  { duration: part(0.1), target: RATE },
  { duration: part(0.3), target: (RATE + PEAK_RATE) / 2 },
  { duration: part(0.4), target: PEAK_RATE },
  { duration: part(0.2), target: RATE },
], bounds);

export const handleSummary = summarize;
