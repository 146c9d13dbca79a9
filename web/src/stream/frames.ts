/**
 * Gathers updates into one batch a frame, so that a thousand messages a second cost sixty renders. A hidden page gets no
 * frames, therefore a timer runs beside: the batch must not grow without end in a background tab.
 */
export class Frames<T> {
  #queue: T[] = [];
  #cancel: (() => void) | null = null;

  constructor(
    private readonly apply: (batch: T[]) => void,
    private readonly schedule: (callback: () => void) => () => void = nextFrame,
    private readonly limit = 20_000,
  ) {}

  push(item: T): void {
    this.#queue.push(item);
    if (this.#queue.length >= this.limit) this.flush();
    else this.#cancel ??= this.schedule(() => this.flush());
  }

  flush(): void {
    this.#cancel?.();
    this.#cancel = null;
    const batch = this.#queue;
    if (batch.length === 0) return;
    this.#queue = [];
    this.apply(batch);
  }
}

function nextFrame(callback: () => void): () => void {
  const cancel = (): void => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  const run = (): void => {
    cancel();
    callback();
  };
  const frame = requestAnimationFrame(run);
  const timer = setTimeout(run, 1_000);
  return cancel;
}
