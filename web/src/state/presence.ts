const TICK_MS = 1_000;
/** A tick that comes this late means that the machine slept, and then no socket can be trusted. */
const SLEPT_MS = 20_000;
/** A page that nobody has seen for this long rests. */
const HIDDEN_MS = 5_000;

export interface PresenceOptions {
  /** Once a second while the page does not rest, with the beat of whatever else is drawn then. */
  tick: (nowMs: number) => void;
  /** The machine slept without the page knowing. */
  slept: () => void;
  /** Nobody has seen the page for a while, or somebody sees it again. */
  rests: (rests: boolean) => void;
  network: (isThere: boolean) => void;
  addressChanged: () => void;
}

/** Whether anybody is there to see the page, and the beat of its clocks. */
export class Presence {
  #ticker: ReturnType<typeof setTimeout> | null = null;
  #hidden: ReturnType<typeof setTimeout> | null = null;
  #rests = false;
  #lastMs = Date.now();
  /** A browser slows the ticks of a hidden page by itself, and a rest is meant: neither is a sleep. */
  #wasAway = false;

  constructor(private readonly options: PresenceOptions) {}

  /** The answer ends it. */
  start(): () => void {
    const end = new AbortController();
    const { signal } = end;
    window.addEventListener("offline", () => this.options.network(false), { signal });
    window.addEventListener("online", () => this.options.network(true), { signal });
    window.addEventListener("hashchange", () => this.options.addressChanged(), { signal });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    this.#lastMs = Date.now();
    this.#beat();
    return () => {
      end.abort();
      this.#stop();
      if (this.#hidden) clearTimeout(this.#hidden);
    };
  }

  #beat(): void {
    this.#ticker = setTimeout(() => {
      this.#tick();
      this.#beat();
    }, TICK_MS - (Date.now() % TICK_MS));
  }

  #stop(): void {
    if (this.#ticker) clearTimeout(this.#ticker);
    this.#ticker = null;
  }

  #tick(): void {
    const now = Date.now();
    const slept = now - this.#lastMs > SLEPT_MS && !this.#wasAway;
    this.#wasAway = document.hidden;
    this.#lastMs = now;
    if (slept) this.options.slept();
    this.options.tick(now);
  }

  #seen(): void {
    if (this.#hidden) clearTimeout(this.#hidden);
    this.#hidden = null;
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#rests = true;
        this.#stop();
        this.options.rests(true);
      }, HIDDEN_MS);
      return;
    }
    if (!this.#rests) return;
    this.#rests = false;
    this.#lastMs = Date.now();
    this.#wasAway = true;
    this.#beat();
    this.options.rests(false);
  }
}
