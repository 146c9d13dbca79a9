import type { Clock } from "./clock";
import type { Socket } from "./connection";

/** A clock for tests: time moves only when told. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  #timers: { atMs: number; callback: () => void }[] = [];
  fixedRandom = 1;

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.fixedRandom;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#now + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((t) => t.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#now = next.atMs;
      this.#timers = this.#timers.filter((other) => other !== next);
      next.callback();
    }
    this.#now = end;
  }

  get pending(): number {
    return this.#timers.length;
  }
}

/** A socket for tests, with the server's side of it as methods. */
export class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  closed = false;
  sent: string[] = [];

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.closed = true;
  }

  serverOpens(): void {
    this.onopen?.({});
  }

  serverSends(message: unknown): void {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  serverCloses(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}
