import { browserClock, type Clock } from "./clock";

/**
 * Does something at once when asked, but no more than once in `everyMs`; what is asked in between is done with the next beat
 * of the clock. Beats are the same for all, so what waits in many places is drawn in one frame; what is much has a beat of its
 * own, `offsetMs` later, so that no frame has to draw everything.
 */
export class Paced {
  #lastAtMs = -Infinity;
  #waiting = false;

  constructor(
    private readonly everyMs: number,
    private readonly act: () => void,
    private readonly clock: Clock = browserClock,
    private readonly offsetMs = 0,
  ) {}

  ask(): void {
    if (this.#waiting) return;
    const now = this.clock.now();
    if (now - this.#lastAtMs >= this.everyMs || now < this.#lastAtMs) {
      this.#run();
      return;
    }
    this.later();
  }

  /** Waits for its beat, however long nothing was asked for. */
  later(): void {
    if (this.#waiting) return;
    const now = this.clock.now();
    this.#waiting = true;
    this.clock.after(this.everyMs - ((now + this.everyMs - this.offsetMs) % this.everyMs), () => {
      this.#waiting = false;
      this.#run();
    });
  }

  #run(): void {
    this.#lastAtMs = this.clock.now();
    this.act();
  }
}
