// Smoke, under 40 s: a hundred sockets on two feeds, publishers in an open model. Runs in CI.
import { mixed } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

export const options = mixed();

export const handleSummary = summarize;
