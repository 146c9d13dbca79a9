import { browserClock, type Clock } from "./clock";

/** Does something at once when asked, but at most once in `everyMs`; what is asked in between is done at its end. */
export class Paced {
  #lastAtMs = -Infinity;
  #waiting = false;

  constructor(
    private readonly everyMs: number,
    private readonly act: () => void,
    private readonly clock: Clock = browserClock,
  ) {}

  ask(): void {
    if (this.#waiting) return;
    const due = this.#lastAtMs + this.everyMs - this.clock.now();
    if (due <= 0) {
      this.#run();
      return;
    }
    this.#waiting = true;
    this.clock.after(Math.min(due, this.everyMs), () => {
      this.#waiting = false;
      this.#run();
    });
  }

  #run(): void {
    this.#lastAtMs = this.clock.now();
    this.act();
  }
}
