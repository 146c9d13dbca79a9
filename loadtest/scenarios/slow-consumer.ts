// Slow consumer: a few sockets that take a tenth of a second for each message, while large ones go out. The server may
// close those, and only those; everybody else gets everything, in time.
import { Counter } from 'k6/metrics';
import http from 'k6/http';
import type { Options } from 'k6/options';
import { BASE_URL, DRAIN_SECONDS, DURATION_SECONDS, HEADERS, LEAD_SECONDS, WS_URL } from '../lib/config.ts';
import { mixed } from '../lib/mixed.ts';
import { summarize } from '../lib/summary.ts';
import { WebSocket } from '../lib/ws.js';
import { thresholds } from '../thresholds.ts';

export { publisher, setup, teardown, viewer } from '../lib/mixed.ts';

const closedSlow = new Counter('ws_closed_slow');
const SLOW_SOCKETS = 2;
const PAD = 'x'.repeat(30_000);

const base = mixed(undefined, { ...thresholds, ws_closed_slow: ['count>0'] });
export const options: Options = {
  ...base,
  scenarios: {
    ...base.scenarios,
    slow: { executor: 'per-vu-iterations', exec: 'slow', vus: 1, iterations: 1, maxDuration: `${DURATION_SECONDS + 30}s` },
    large: {
      executor: 'constant-arrival-rate',
      exec: 'large',
      startTime: `${LEAD_SECONDS}s`,
      rate: 40,
      timeUnit: '1s',
      duration: `${DURATION_SECONDS}s`,
      preAllocatedVUs: 10,
      gracefulStop: `${DRAIN_SECONDS}s`,
    },
  },
};

/** Takes so long for each message that the kernel's buffers fill, and then the server's for this socket. */
export function slow() {
  for (let i = 0; i < SLOW_SOCKETS; i++) {
    const socket = new WebSocket(`${WS_URL}/ws`, null, { headers: HEADERS });
    const until = Date.now() + (LEAD_SECONDS + DURATION_SECONDS) * 1000;
    socket.onmessage = () => {
      const done = Date.now() + 200;
      while (Date.now() < done && Date.now() < until);
      if (Date.now() >= until) socket.close();
    };
    socket.onclose = () => {
      if (Date.now() < until) closedSlow.add(1);
    };
  }
}

/** What fills them: on a feed that only the slow ones listen to, so that k6 itself is not what is slow. */
export function large() {
  const body = JSON.stringify({ channel: 'system:notifications', data: { message_type: 'notice', pad: PAD } });
  http.post(`${BASE_URL}/api/publish`, body, { headers: HEADERS, tags: { name: 'publish large' } });
}

export const handleSummary = summarize;
