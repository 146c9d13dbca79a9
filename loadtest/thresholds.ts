// What a run must hold; k6 exits with 99 when one is crossed.
import type { Options } from 'k6/options';
import { DELIVERY_P95_MS } from './lib/config.ts';

export const thresholds: NonNullable<Options['thresholds']> = {
  // From the publisher's request to the receiver; k6 is both, so there is one clock.
  ws_delivery_latency: [`p(95)<${DELIVERY_P95_MS}`],
  // From the row's own timestamp to the receiver: holds the outbox as well. Needs server and k6 on one clock.
  ws_commit_latency: [`p(95)<${DELIVERY_P95_MS}`],
  ws_connect_ok: ['rate>0.999'],
  ws_lost: ['count==0'],
  ws_duplicated: ['count==0'],
  ws_malformed: ['count==0'],
  ws_closed_early: ['count==0'],
  // Everything accepted reached every socket, the last message too.
  ws_owed: ['count==0'],
  // A run in which nothing arrived proves nothing.
  ws_received: ['count>0'],
  http_req_failed: ['rate<0.001'],
  http_req_duration: ['p(95)<200'],
  checks: ['rate>0.999'],
  dropped_iterations: ['count==0'],
};
