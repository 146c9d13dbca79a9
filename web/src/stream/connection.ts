import type { Clock } from "./clock";
import { messageType, parseMessage, type Message } from "./messages";

/** The part of a browser's WebSocket that a feed uses. */
export interface Socket {
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Closed {
  code: number;
  reason: string;
  /** Whether the connection had been established before. A browser hides why it was not. */
  opened: boolean;
}

export interface Events {
  opened(): void;
  /** An object, or null for what is none. */
  received(message: Message | null): void;
  /** Comes once, and nothing comes after it. */
  lost(closed: Closed): void;
}

/** A handshake that hangs longer is given up. The server itself may look for a client's place for some seconds. */
const OPEN_TIMEOUT_MS = 20_000;
/** After this much silence the server is asked whether it is there, and has so long to answer. */
const SILENT_MS = 15_000;
const ANSWER_MS = 5_000;

/** One socket from its opening to its loss. A page sees no pings, so it asks by itself when it hears nothing. */
export class Connection {
  #socket: Socket | null;
  #opened = false;
  #heardAtMs = 0;
  #cancelTimer: () => void;

  constructor(
    socket: Socket,
    private readonly clock: Clock,
    private readonly events: Events,
  ) {
    this.#socket = socket;
    this.#cancelTimer = clock.after(OPEN_TIMEOUT_MS, () => this.#lose(1006, "timeout"));
    socket.onopen = () => {
      this.#opened = true;
      this.#cancelTimer();
      this.#heardAtMs = clock.now();
      this.#listen(SILENT_MS);
      events.opened();
    };
    socket.onmessage = (event) => {
      this.#heardAtMs = clock.now();
      const message = parseMessage(event.data);
      if (message?.["type"] === "pong" && messageType(message) === "") return;
      events.received(message);
    };
    socket.onclose = (event) => this.#lose(event.code, event.reason);
    // A close event always follows an error event and says more.
    socket.onerror = null;
  }

  /** Gives the socket up; no event comes any more. */
  close(): void {
    this.#cancelTimer();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  /** One timer a connection, however much arrives. */
  #listen(afterMs: number): void {
    this.#cancelTimer = this.clock.after(afterMs, () => {
      const silentMs = this.clock.now() - this.#heardAtMs;
      if (silentMs < SILENT_MS) {
        this.#listen(SILENT_MS - silentMs);
        return;
      }
      const askedAtMs = this.clock.now();
      try {
        this.#socket?.send('{"type":"ping"}');
      } catch {
        // The browser is about to say that the socket is closed.
      }
      this.#cancelTimer = this.clock.after(ANSWER_MS, () => {
        if (this.#heardAtMs >= askedAtMs) this.#listen(SILENT_MS);
        else this.#lose(3012, "no answer");
      });
    });
  }

  #lose(code: number, reason: string): void {
    const opened = this.#opened;
    this.close();
    this.events.lost({ code, reason, opened });
  }
}
