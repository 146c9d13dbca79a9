// Spike: nearly idle, then the peak within two seconds, then idle again. What was queued must drain without a loss.
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
  { duration: part(0.3), target: RATE },
  { duration: '2s', target: PEAK_RATE },
  { duration: part(0.3), target: PEAK_RATE },
  { duration: '2s', target: RATE },
  { duration: part(0.3), target: RATE },
], bounds);

export const handleSummary = summarize;
