export const SPEEDS = [1, 10, 60, 100] as const;
export const SPANS_MS = [30 * 60_000, 2 * 3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000] as const;

const STEP_MS = 100;

/** The moment that all pages show: now, or one in the past that stands still or is played. */
class Travel {
  /** Whether the slider is on the page. */
  open = $state(false);
  /** The shown moment; null is now. */
  atMs = $state<number | null>(null);
  playing = $state(false);
  speed = $state<number>(10);
  spanMs = $state<number>(SPANS_MS[0]);
  /** The end of the slider: when the travel began, moved on when it is reached. */
  endMs = $state(0);

  /** Another only when the past begins or ends, not with every moment of it. */
  readonly isPast = $derived(this.atMs !== null);

  /** Rises when the moment is chosen, and not reached by playing. */
  jumps = $state(0);

  #timer: ReturnType<typeof setInterval> | null = null;

  get startMs(): number {
    return this.endMs - this.spanMs;
  }

  /** Shows the slider; what is shown stays live until it is moved. */
  begin(nowMs = Date.now()): void {
    this.open = true;
    this.endMs = nowMs;
  }

  to(atMs: number, nowMs = Date.now()): void {
    this.jumps += 1;
    this.#move(atMs, nowMs);
  }

  #move(atMs: number, nowMs: number): void {
    this.endMs = Math.max(this.endMs, Math.min(nowMs, atMs));
    this.atMs = Math.min(Math.max(atMs, this.startMs), nowMs);
  }

  span(spanMs: number): void {
    this.spanMs = spanMs;
    if (this.atMs !== null) this.atMs = Math.max(this.atMs, this.startMs);
  }

  play(): void {
    if (this.atMs === null) this.to(this.startMs);
    this.playing = true;
    let last = Date.now();
    this.#timer ??= setInterval(() => {
      const now = Date.now();
      this.advance(now - last, now);
      last = now;
    }, STEP_MS);
  }

  pause(): void {
    this.playing = false;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Time that passes here. The past that has caught up with the present is live. */
  advance(passedMs: number, nowMs: number): void {
    if (this.atMs === null) return;
    const atMs = this.atMs + passedMs * this.speed;
    if (atMs >= nowMs) this.live();
    else this.#move(atMs, nowMs);
  }

  live(): void {
    this.pause();
    this.atMs = null;
    this.endMs = Date.now();
  }

  close(): void {
    this.live();
    this.open = false;
  }
}

export const travel = new Travel();
export { Travel };
