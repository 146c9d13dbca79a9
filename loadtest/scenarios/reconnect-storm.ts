// Reconnect storm: all sockets close at once and come back at once, several times, as after a restart of the server.
// All must be back within five seconds.
import { sleep } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';
import type { Options } from 'k6/options';
import { setTimeout } from 'k6/timers';
import { DURATION_SECONDS, HEADERS, SOCKETS, WS_URL } from '../lib/config.ts';
import { summarize } from '../lib/summary.ts';
import { WebSocket } from '../lib/ws.js';

const VIEWERS = 4;
const back = new Trend('ws_back', true);
const connected = new Rate('ws_connect_ok');
const storms = new Counter('storms');
/** Rounds of going and coming back that fit into the run. */
const ROUNDS = Math.max(1, Math.floor(DURATION_SECONDS / 10));

export const options: Options = {
  scenarios: {
    viewers: { executor: 'per-vu-iterations', vus: VIEWERS, iterations: ROUNDS, maxDuration: `${DURATION_SECONDS + 60}s` },
  },
  thresholds: { ws_back: ['max<5000', 'p(95)<5000'], ws_connect_ok: ['rate==1'], storms: ['count>0'] },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
};

/** One storm: everybody dials in the same moment, stays a while, and leaves in the same moment. */
export default function () {
  // The viewers agree on the moment by the clock: the next whole ten seconds.
  sleep(10 - ((Date.now() / 1000) % 10));
  storms.add(1);
  const begun = Date.now();
  for (let i = 0; i < SOCKETS; i++) {
    let opened = false;
    const socket = new WebSocket(`${WS_URL}/ws/price`, null, { headers: HEADERS });
    socket.onopen = () => {
      opened = true;
      back.add(Date.now() - begun);
      connected.add(true);
      setTimeout(() => socket.close(), Math.max(0, begun + 6000 - Date.now()));
    };
    socket.onclose = () => {
      if (!opened) connected.add(false);
    };
  }
}

export const handleSummary = summarize;
