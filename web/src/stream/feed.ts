import { Backoff } from "./backoff";
import type { Clock } from "./clock";
import { closeMeaning } from "./codes";
import { messageType, parseMessage, type Message } from "./messages";

/** The part of a browser's WebSocket that a feed uses. */
export interface Socket {
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  close(code?: number, reason?: string): void;
}

export interface Closed {
  code: number;
  reason: string;
  /** Whether the connection had been established before. A browser hides why it was not. */
  opened: boolean;
}

export type Phase =
  /** Not started, or stopped by the page. */
  | { name: "idle" }
  | { name: "connecting"; attempt: number }
  /** Connected, but what is shown may lack messages: the snapshot is being fetched, or could not be. */
  | { name: "stale"; why: "connect" | "gap" | "failed" }
  | { name: "live"; sinceMs: number }
  /** Lost; the next attempt comes by itself at `retryAtMs`. */
  | { name: "waiting"; attempt: number; retryAtMs: number; closed: Closed }
  /** The browser has no network. The attempt comes when it returns. */
  | { name: "offline" }
  /** Closed for a reason that reconnecting does not mend. */
  | { name: "refused"; closed: Closed };

/** Why a snapshot is wanted: after a connect and a gap the old one is void; a refresh only fills in details. */
export type ResyncReason = "connect" | "gap" | "refresh";

export interface FeedOptions {
  url: () => string;
  open: (url: string) => Socket;
  clock: Clock;
  /** Messages in the order of the channel; `buffered` ones arrived while a snapshot was fetched and may be in it. */
  onMessage: (message: Message, buffered: boolean) => void;
  onPhase?: (phase: Phase) => void;
  /** Fetches the snapshot and puts it in place. A feed without one is live as soon as it is connected. */
  resync?: (reason: ResyncReason, signal: AbortSignal) => Promise<void>;
  /** A connection that held this long was a good one: the next loss starts with a short delay again. */
  stableMs?: number;
  /** Handshakes that hang longer are given up. */
  connectTimeoutMs?: number;
  /** Messages kept while a snapshot is fetched; beyond it all are dropped and the snapshot is fetched anew. */
  bufferLimit?: number;
}

export interface FeedCounts {
  received: number;
  malformed: number;
  gaps: number;
  reconnects: number;
}

/**
 * One live feed: connects, parses, reconnects, and keeps the order "socket first, then snapshot, then what arrived in
 * between", so that no change is lost between the two.
 */
export class Feed {
  readonly counts: FeedCounts = { received: 0, malformed: 0, gaps: 0, reconnects: 0 };
  lastMessageAtMs: number | null = null;

  #phase: Phase = { name: "idle" };
  #socket: Socket | null = null;
  #opened = false;
  #everOpened = false;
  #backoff: Backoff;
  #cancelTimer: (() => void) | null = null;
  #cancelStable: (() => void) | null = null;
  #resyncing: AbortController | null = null;
  #resyncBackoff: Backoff;
  #cancelResyncTimer: (() => void) | null = null;
  #buffer: Message[] | null = null;

  constructor(private readonly options: FeedOptions) {
    this.#backoff = new Backoff(options.clock);
    this.#resyncBackoff = new Backoff(options.clock, { firstMs: 1_000, capMs: 15_000 });
  }

  get phase(): Phase {
    return this.#phase;
  }

  start(): void {
    if (this.#phase.name === "idle" || this.#phase.name === "refused") this.#connect();
  }

  stop(): void {
    this.#drop();
    this.#backoff.reset();
    this.#set({ name: "idle" });
  }

  /** Connects now instead of at the end of the delay. */
  retryNow(): void {
    if (this.#phase.name === "waiting" || this.#phase.name === "offline" || this.#phase.name === "refused") this.#connect();
  }

  /** Drops a connection that may be dead without the browser knowing, as after a sleep of the machine. */
  reconnect(): void {
    if (this.#phase.name === "idle") return;
    this.#drop();
    this.#connect();
  }

  networkLost(): void {
    if (this.#phase.name === "idle") return;
    this.#drop();
    this.#set({ name: "offline" });
  }

  networkBack(): void {
    if (this.#phase.name !== "offline") return;
    this.#backoff.reset();
    this.#connect();
  }

  /** Fetches the snapshot again while live, to fill in what messages do not carry. */
  refresh(): void {
    if (this.#phase.name === "live" && !this.#resyncing) void this.#resync("refresh");
  }

  #connect(): void {
    this.#drop();
    this.#set({ name: "connecting", attempt: this.#backoff.attempt });
    let socket: Socket;
    try {
      socket = this.options.open(this.options.url());
    } catch {
      this.#lost({ code: 1006, reason: "", opened: false });
      return;
    }
    this.#socket = socket;
    this.#cancelTimer = this.options.clock.after(this.options.connectTimeoutMs ?? 10_000, () => {
      if (this.#socket === socket) this.#lost({ code: 1006, reason: "timeout", opened: false });
    });
    socket.onopen = () => {
      if (this.#socket === socket) this.#open();
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#receive(event.data);
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#lost({ code: event.code, reason: event.reason, opened: this.#opened });
    };
    // A close event always follows an error event and says more.
    socket.onerror = null;
  }

  #open(): void {
    this.#opened = true;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (this.#everOpened) this.counts.reconnects += 1;
    this.#everOpened = true;
    this.#cancelStable = this.options.clock.after(this.options.stableMs ?? 5_000, () => this.#backoff.reset());
    void this.#resync("connect");
  }

  async #resync(reason: ResyncReason): Promise<void> {
    const { resync, clock } = this.options;
    if (!resync) {
      this.#set({ name: "live", sinceMs: clock.now() });
      return;
    }
    this.#cancelResyncTimer?.();
    this.#resyncing?.abort();
    const run = new AbortController();
    this.#resyncing = run;
    this.#buffer ??= [];
    if (reason !== "refresh") this.#set({ name: "stale", why: reason });
    try {
      await resync(reason, run.signal);
    } catch {
      if (this.#resyncing !== run) return;
      this.#resyncing = null;
      if (reason === "refresh") {
        this.#drain();
        return;
      }
      // The messages stay buffered: without a snapshot there is nothing to apply them to.
      this.#set({ name: "stale", why: "failed" });
      this.#cancelResyncTimer = clock.after(this.#resyncBackoff.nextMs(), () => void this.#resync(reason));
      return;
    }
    // A newer run or a lost connection made this answer void.
    if (this.#resyncing !== run) return;
    this.#resyncing = null;
    this.#resyncBackoff.reset();
    this.#drain();
    if (reason !== "refresh") this.#set({ name: "live", sinceMs: clock.now() });
  }

  #drain(): void {
    const buffered = this.#buffer ?? [];
    this.#buffer = null;
    for (const message of buffered) this.options.onMessage(message, true);
  }

  #receive(data: unknown): void {
    const message = parseMessage(data);
    if (!message) {
      this.counts.malformed += 1;
      return;
    }
    this.counts.received += 1;
    this.lastMessageAtMs = this.options.clock.now();
    if (messageType(message) === "gap") {
      this.counts.gaps += 1;
      void this.#resync("gap");
      return;
    }
    if (this.#buffer) this.#keep(this.#buffer, message);
    else this.options.onMessage(message, false);
  }

  #keep(buffer: Message[], message: Message): void {
    buffer.push(message);
    if (buffer.length <= (this.options.bufferLimit ?? 10_000)) return;
    // What is dropped here is in the snapshot that is asked for after it.
    buffer.length = 0;
    if (this.#resyncing) void this.#resync("gap");
  }

  #lost(closed: Closed): void {
    this.#drop();
    if (!closeMeaning(closed.code).reconnect) {
      this.#set({ name: "refused", closed });
      return;
    }
    const delayMs = this.#backoff.nextMs();
    const retryAtMs = this.options.clock.now() + delayMs;
    this.#cancelTimer = this.options.clock.after(delayMs, () => this.#connect());
    this.#set({ name: "waiting", attempt: this.#backoff.attempt, retryAtMs, closed });
  }

  #drop(): void {
    this.#cancelTimer?.();
    this.#cancelStable?.();
    this.#cancelResyncTimer?.();
    this.#cancelTimer = this.#cancelStable = this.#cancelResyncTimer = null;
    this.#resyncing?.abort();
    this.#resyncing = null;
    this.#buffer = null;
    this.#opened = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
    }
  }

  #set(phase: Phase): void {
    this.#phase = phase;
    this.options.onPhase?.(phase);
  }
}
