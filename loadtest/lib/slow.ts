// A reader that freezes, as a browser tab does: it stops reading, so the kernel's buffers fill, then the server's.
// `k6/ws` reads only while its handler is not running, and it tells the close code.
import { check, sleep } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import ws from 'k6/ws';
import { BASE_URL, HEADERS, WS_URL } from './config.ts';
import { Ledger } from './ledger.ts';
import { numbered } from './payload.ts';
import { duplicated, lost, received } from './viewer.ts';

/** Closed with 3008, and the client has read so. */
const told = new Counter('ws_slow_told');
/** Closed in any other way before the end. */
const otherwise = new Counter('ws_slow_otherwise');

/** The server's code for a client that read too slowly; docs/PROTOCOL.md. */
const SLOW = 3008;
const NORMAL = 1000;

export interface Freeze {
  path: string;
  run: string;
  /** From its start to its end, both connections together. */
  seconds: number;
  /** The longest freeze. */
  frozenSeconds: number;
}

/** Freezes at the first message until the server has closed somebody for it, reads what is left, and comes back once. */
export function freeze({ path, run, seconds, frozenSeconds }: Freeze) {
  const endAt = Date.now() + seconds * 1000;
  const before = closedAsSlow();
  let thawed = false;
  const code = read(path, run, endAt, undefined, () => {
    if (thawed) return;
    thawed = true;
    const until = Date.now() + frozenSeconds * 1000;
    while (closedAsSlow() === before && Date.now() < until) sleep(0.2);
    // All freeze at about the same message; this lets the others go over their bound too. A close frame waits for 3 s.
    sleep(1);
  });
  if (code.closed === SLOW) told.add(1);
  else if (code.closed !== undefined) otherwise.add(1, { code: String(code.closed) });
  if (code.closed === undefined) return;

  const again = read(path, run, endAt, code.ledger, () => undefined);
  if (again.closed !== undefined) otherwise.add(1, { code: String(again.closed) });
}

/** Reads until `endAt`. `closed` is the code when the server ends it earlier. */
function read(path: string, run: string, endAt: number, previous: Ledger | undefined, onMessage: () => void) {
  const ledger = new Ledger(previous);
  let closed: number | undefined;
  let done = false;
  const answer = ws.connect(`${WS_URL}${path}`, { headers: HEADERS, tags: { feed: 'slow' } }, (socket) => {
    socket.setTimeout(
      () => {
        done = true;
        socket.close(NORMAL);
      },
      Math.max(1, endAt - Date.now()),
    );
    socket.on('message', (text) => {
      const message = numbered(text, run);
      if (message !== undefined) ledger.enter(message);
      onMessage();
    });
    socket.on('close', (code) => {
      if (!done) closed = code;
    });
  });
  check(answer, { 'slow reader connected': (r) => r !== null && r.status === 101 });
  received.add(ledger.received);
  lost.add(ledger.lost);
  duplicated.add(ledger.duplicated);
  return { closed, ledger };
}

/** How many the server has closed for slowness, by its own count. */
function closedAsSlow(): number {
  const { body } = http.get(`${BASE_URL}/metrics`, { headers: HEADERS, tags: { name: 'metrics' } });
  const found = /^fanfare_websocket_connections_closed_total\{reason="slow"\} (\d+)/m.exec(String(body));
  return found ? Number(found[1]) : 0;
}
