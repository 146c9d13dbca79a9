/** Counts per second over the last minute: the figure and the curve in the header. */
export class Rate {
  readonly #buckets: number[];
  #second = 0;

  constructor(private readonly seconds = 60) {
    this.#buckets = new Array<number>(seconds).fill(0);
  }

  add(nowMs: number, count = 1): void {
    this.#turn(nowMs);
    const at = this.#second % this.seconds;
    this.#buckets[at] = (this.#buckets[at] ?? 0) + count;
  }

  /** Complete seconds, oldest first; the running one would always look low. */
  series(nowMs: number): number[] {
    this.#turn(nowMs);
    const out: number[] = [];
    for (let back = this.seconds - 1; back >= 1; back -= 1) {
      out.push(this.#buckets[(this.#second - back + this.seconds) % this.seconds] ?? 0);
    }
    return out;
  }

  /** Mean of the last three complete seconds. */
  perSecond(nowMs: number): number {
    const last = this.series(nowMs).slice(-3);
    return last.reduce((sum, count) => sum + count, 0) / last.length;
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    const idle = Math.min(second - this.#second, this.seconds);
    for (let i = 1; i <= idle; i += 1) this.#buckets[(this.#second + i) % this.seconds] = 0;
    if (idle >= this.seconds) this.#buckets.fill(0);
    if (second > this.#second) this.#second = second;
  }
}
