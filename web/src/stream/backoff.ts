import type { Clock } from "./clock";

export interface BackoffOptions {
  firstMs: number;
  capMs: number;
}

/**
 * Doubling delays with jitter. A delay lies between half and all of its nominal value, so that clients which lost one
 * server together do not return to the next one together.
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly clock: Clock,
    private readonly options: BackoffOptions = { firstMs: 500, capMs: 10_000 },
  ) {}

  get attempt(): number {
    return this.#attempt;
  }

  nextMs(): number {
    const nominal = Math.min(this.options.capMs, this.options.firstMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return Math.round(nominal * (0.5 + this.clock.random() / 2));
  }

  reset(): void {
    this.#attempt = 0;
  }
}
