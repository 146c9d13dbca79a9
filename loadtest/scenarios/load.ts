// Load: what a busy day looks like, at one rate for minutes. Nothing may be lost, and latency must hold.
import { mixed } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

export const options = mixed();

export const handleSummary = summarize;
