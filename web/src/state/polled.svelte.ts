import { ApiError } from "../api";

const REFUSED_MS = 60_000;

/** What is asked for again and again. It knows how old its answer is, and rests while nobody sees it. */
export class Polled<T> {
  value = $state.raw<T | null>(null);
  /** When the last good answer came; null before the first. */
  atMs = $state<number | null>(null);
  /** Why the last question failed; null when it did not. */
  error = $state.raw<ApiError | Error | null>(null);

  #timer: ReturnType<typeof setTimeout> | null = null;
  #running = false;
  #asked = 0;

  constructor(
    private readonly ask: () => Promise<T>,
    readonly everyMs: number,
  ) {}

  /** Older than this, an answer is not to be trusted: two were missed. */
  get staleAfterMs(): number {
    return this.everyMs * 2.5 + 1_000;
  }

  isStale(nowMs: number): boolean {
    return this.atMs === null ? this.error !== null : nowMs - this.atMs > this.staleAfterMs;
  }

  /** Starts asking; the answer of this call ends it. A hidden page asks nothing. */
  start(): () => void {
    this.#running = true;
    const wake = (): void => {
      if (!document.hidden) void this.now();
    };
    document.addEventListener("visibilitychange", wake);
    void this.now();
    return () => {
      this.#running = false;
      document.removeEventListener("visibilitychange", wake);
      if (this.#timer) clearTimeout(this.#timer);
    };
  }

  /** Asks at once. An answer to an older question never replaces that to a newer one. */
  async now(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    const asked = (this.#asked += 1);
    try {
      const value = await this.ask();
      if (asked !== this.#asked) return;
      this.value = value;
      this.atMs = Date.now();
      this.error = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = error as Error;
    }
    // Rights change seldom: who may not know does not ask as often.
    const isRefused = this.error instanceof ApiError && this.error.status === 403;
    if (this.#running && !document.hidden) this.#timer = setTimeout(() => void this.now(), isRefused ? Math.max(REFUSED_MS, this.everyMs) : this.everyMs);
  }
}
