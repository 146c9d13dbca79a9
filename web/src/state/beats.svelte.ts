/**
 * When in each second a part of the page is drawn. Parts that change all the time, each with a clock of its own, would cost a
 * frame more than it has if all were drawn in one.
 */
export const BEATS_MS = { table: 250, out: 450, low: 600, lanes: 800 } as const;

export type Beat = keyof typeof BEATS_MS;

const BEATS = Object.keys(BEATS_MS) as Beat[];

/** The clocks of the parts: what relative times in them are read from. */
export class Beats implements Record<Beat, number> {
  table = $state(Date.now());
  out = $state(Date.now());
  low = $state(Date.now());
  lanes = $state(Date.now());
  #timers: ReturnType<typeof setTimeout>[] = [];

  /** A second begins. */
  begin(): void {
    this.#stop();
    this.#timers = BEATS.map((beat) => setTimeout(() => (this[beat] = Date.now()), BEATS_MS[beat]));
  }

  /** All at once: after a rest. */
  catchUp(): void {
    this.#stop();
    for (const beat of BEATS) this[beat] = Date.now();
  }

  #stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
