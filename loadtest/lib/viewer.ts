// A viewer: many sockets on one feed in one VU. Each socket keeps its own books.
import { Counter, Rate, Trend } from 'k6/metrics';
import { setTimeout } from 'k6/timers';
import { HEADERS, WS_URL } from './config.ts';
import { numbered } from './payload.ts';
import { WebSocket } from './ws.js';

const delivery = new Trend('ws_delivery_latency', true);
const commit = new Trend('ws_commit_latency', true);
const connected = new Rate('ws_connect_ok');
const lost = new Counter('ws_lost');
const duplicated = new Counter('ws_duplicated');
const received = new Counter('ws_received');
const malformed = new Counter('ws_malformed');
const closedEarly = new Counter('ws_closed_early');
/** Publishers add what is owed to all sockets, each receipt takes one off: it must end at zero. */
export const owed = new Counter('ws_owed');

/** Opens `count` sockets on `path` and reads until `seconds` have passed. */
export function view(path: string, run: string, count: number, seconds: number) {
  for (let i = 0; i < count; i++) open(path, run, seconds);
}

function open(path: string, run: string, seconds: number) {
  const last = new Map<string, number>();
  let opened = false;
  let done = false;
  const socket = new WebSocket(`${WS_URL}${path}`, null, { headers: HEADERS, tags: { feed: path } });

  socket.onopen = () => {
    opened = true;
    connected.add(true);
    setTimeout(() => {
      done = true;
      socket.close();
    }, seconds * 1000);
  };
  socket.onmessage = (event) => {
    const message = numbered(event?.data as string, run);
    if (message === undefined) return;
    if (!Number.isFinite(message.seq) || !Number.isFinite(message.sentAtMs)) {
      malformed.add(1);
      return;
    }
    (message.stamped ? delivery : commit).add(Date.now() - message.sentAtMs, { feed: path });

    // Publishers number from 1, and viewers were there before the first.
    const expected = (last.get(message.stream) ?? 0) + 1;
    if (message.seq < expected) {
      duplicated.add(1);
      return;
    }
    lost.add(message.seq - expected);
    last.set(message.stream, message.seq);
    received.add(1);
    owed.add(-1);
  };
  socket.onclose = () => {
    if (!opened) connected.add(false);
    else if (!done) closedEarly.add(1);
  };
}
