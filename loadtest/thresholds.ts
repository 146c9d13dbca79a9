// What a run must hold; k6 exits with 99 when one is crossed.
import type { Options } from 'k6/options';
import { DELIVERY_P95_MS } from './lib/config.ts';

type Thresholds = NonNullable<Options['thresholds']>;

/** What every scenario must hold whatever the load: nothing lost, nothing twice, nobody turned away. */
const always: Thresholds = {
  ws_connect_ok: ['rate>0.999'],
  // Gaps, and everything that the rows say was written and a socket did not get, the last message too.
  ws_lost: ['count==0'],
  ws_duplicated: ['count==0'],
  ws_malformed: ['count==0'],
  ws_closed_early: ['count==0'],
  // A run in which nothing arrived proves nothing.
  ws_received: ['count>0'],
  http_req_failed: ['rate<0.001'],
  checks: ['rate>0.999'],
};

/** Times that hold at a load the server is meant for. */
const timely: Thresholds = {
  // From the publisher's request to the receiver; k6 is both, so there is one clock.
  ws_delivery_latency: [`p(95)<${DELIVERY_P95_MS}`],
  // From the row's own timestamp to the receiver: holds the outbox as well. Needs server and k6 on one clock.
  ws_commit_latency: [`p(95)<${DELIVERY_P95_MS}`],
  http_req_duration: ['p(95)<200'],
  dropped_iterations: ['count==0'],
};

export const thresholds: Thresholds = { ...always, ...timely };

/** In a peak it may take longer, and afterwards as before. */
export function overPeak(peakP95Ms: number): Thresholds {
  return {
    ...always,
    ws_delivery_latency: [`p(95)<${peakP95Ms}`],
    ws_recovered_latency: [`p(95)<${DELIVERY_P95_MS}`],
    dropped_iterations: ['count==0'],
  };
}

/** Ends the run at the first bound that breaks: there is the limit. */
export function untilBroken(): Thresholds {
  const stop = (threshold: string) => [{ threshold, abortOnFail: true, delayAbortEval: '10s' }];
  return {
    ...always,
    ws_delivery_latency: stop(`p(95)<${DELIVERY_P95_MS}`),
    ws_lost: stop('count==0'),
    ws_closed_early: stop('count==0'),
    http_req_failed: stop('rate<0.001'),
    dropped_iterations: stop('count==0'),
  };
}
