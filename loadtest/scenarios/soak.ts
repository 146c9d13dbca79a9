// Soak: hours at a steady rate; watch the server's memory and descriptors in /metrics meanwhile.
import { mixed } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

export const options = mixed();

export const handleSummary = summarize;
