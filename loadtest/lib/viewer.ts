// A viewer: many sockets on one feed in one VU. Each socket keeps its own books.
import { Counter, Rate, Trend } from 'k6/metrics';
import { clearInterval, setInterval, setTimeout } from 'k6/timers';
import { HEADERS, WS_URL } from './config.ts';
import { Ledger } from './ledger.ts';
import { numbered } from './payload.ts';
import { written } from './publisher.ts';
import { WebSocket } from './ws.js';

const delivery = new Trend('ws_delivery_latency', true);
const recovered = new Trend('ws_recovered_latency', true);
const commit = new Trend('ws_commit_latency', true);
const back = new Trend('ws_back_after', true);
const cameBack = new Counter('ws_came_back');
const connected = new Rate('ws_connect_ok');
const malformed = new Counter('ws_malformed');
const closedEarly = new Counter('ws_closed_early');
/** Shared with the slow readers, who keep the same books. */
export const received = new Counter('ws_received');
export const lost = new Counter('ws_lost');
export const duplicated = new Counter('ws_duplicated');

/** What one viewer VU shows. */
export interface Show {
  path: string;
  /** The run whose messages count. */
  run: string;
  sockets: number;
  /** How long to look; at the end the books are settled. */
  seconds: number;
  /** Deliveries from this time on count as recovered, too: after a peak. */
  recoveredFromMs?: number;
  /** At these times, in seconds from the start, all sockets are closed and opened again at once. */
  storms?: number[];
}

/** Why a socket is closed. Only the first is the server's doing. */
type State = 'opening' | 'open' | 'ended';

const AGAIN_MS = 250;
/** The last messages get this long to arrive after the rows have been read. */
const SETTLE_MS = 1000;

export function view(show: Show) {
  new Viewer(show).run();
}

class Viewer {
  private sockets: Socket[] = [];
  /** The rows after all sockets had opened: whatever comes later is owed to each. */
  private opened = new Map<string, number>();
  private opening = 0;
  private flushed = { received: 0, lost: 0, duplicated: 0 };

  constructor(readonly show: Show) {}

  run() {
    const { sockets, seconds, storms = [] } = this.show;
    this.opening = sockets;
    for (let i = 0; i < sockets; i++) this.sockets.push(new Socket(this));
    for (const at of storms) setTimeout(() => this.storm(), at * 1000);
    // Samples cost k6 more than messages do, so counts are handed over once a second.
    const flushing = setInterval(() => this.flush(), 1000);
    setTimeout(() => {
      const ended = written(this.show.run);
      setTimeout(() => {
        clearInterval(flushing);
        for (const socket of this.sockets) socket.end(this.opened, ended);
        this.flush();
      }, SETTLE_MS);
    }, seconds * 1000 - SETTLE_MS);
  }

  /** A socket has opened, or will never open. */
  arrived() {
    this.opening -= 1;
    if (this.opening === 0) this.opened = written(this.show.run);
  }

  private storm() {
    const at = Date.now();
    this.opening = this.sockets.length;
    for (const socket of this.sockets) socket.reconnect(at);
  }

  private flush() {
    const sums = { received: 0, lost: 0, duplicated: 0 };
    for (const socket of this.sockets) {
      for (const ledger of socket.ledgers) {
        sums.received += ledger.received;
        sums.lost += ledger.lost;
        sums.duplicated += ledger.duplicated;
      }
    }
    received.add(sums.received - this.flushed.received);
    lost.add(sums.lost - this.flushed.lost);
    duplicated.add(sums.duplicated - this.flushed.duplicated);
    this.flushed = sums;
  }
}

class Socket {
  /** One a connection, the present one last. */
  readonly ledgers: Ledger[] = [];
  private state: State = 'ended';
  private socket: WebSocket | undefined;
  /** When the storm began that this connection comes back from. */
  private since: number | undefined;

  constructor(private viewer: Viewer) {
    this.open();
  }

  reconnect(since: number) {
    this.since = since;
    this.state = 'ended';
    this.socket?.close();
    this.open();
  }

  end(opened: Map<string, number>, ended: Map<string, number>) {
    if (this.state === 'open') this.ledgers[this.ledgers.length - 1]?.settle(opened, ended);
    // It never came back: the bound is to know.
    else if (this.since !== undefined) back.add(Date.now() - this.since);
    this.state = 'ended';
    this.socket?.close();
  }

  private open() {
    const { path, run, recoveredFromMs } = this.viewer.show;
    const ledger = new Ledger(this.ledgers[this.ledgers.length - 1]);
    const socket = new WebSocket(`${WS_URL}${path}`, null, { headers: HEADERS, tags: { feed: path } });
    this.ledgers.push(ledger);
    this.state = 'opening';
    this.socket = socket;

    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.state = 'open';
      connected.add(true);
      if (this.since !== undefined) {
        back.add(Date.now() - this.since);
        cameBack.add(1);
      }
      this.viewer.arrived();
    };
    socket.onmessage = (event) => {
      // What a connection brings after it has been given up is nobody's.
      if (this.socket !== socket || this.state === 'ended') return;
      const message = numbered(event?.data as string, run);
      if (message === undefined) return;
      if (!Number.isFinite(message.seq) || !Number.isFinite(message.sentAtMs)) {
        malformed.add(1);
        return;
      }
      const now = Date.now();
      if (!message.stamped) commit.add(now - message.sentAtMs);
      else {
        delivery.add(now - message.sentAtMs);
        if (recoveredFromMs !== undefined && message.sentAtMs >= recoveredFromMs) recovered.add(now - message.sentAtMs);
      }
      ledger.enter(message);
    };
    socket.onclose = () => {
      if (this.socket !== socket || this.state === 'ended') return;
      if (this.state === 'opening') {
        connected.add(false);
        // In a storm one tries again, as a client does; otherwise the rate of `ws_connect_ok` has been told.
        if (this.since !== undefined) {
          this.ledgers.pop();
          setTimeout(() => {
            if (this.socket === socket && this.state !== 'ended') this.open();
          }, AGAIN_MS);
        } else this.viewer.arrived();
      } else closedEarly.add(1);
      if (this.state === 'open') this.state = 'ended';
    };
  }
}
