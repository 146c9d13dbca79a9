// The books of one socket. A publisher's messages on a feed are two streams, stamped and not, each numbered from 1
// without a gap; so what is missing and what came twice can be told exactly.
import type { Numbered } from './payload.ts';

export class Ledger {
  received = 0;
  lost = 0;
  duplicated = 0;

  /** By stream: the first number of this connection, and the last one. */
  private first = new Map<string, number>();
  private last = new Map<string, number>();
  /** The last numbers of the connection before this one: none of them may come again. */
  private before: Map<string, number>;

  constructor(previous?: Ledger) {
    this.before = previous?.last ?? new Map();
  }

  enter({ stream, seq }: Numbered) {
    const last = this.last.get(stream);
    if (seq <= (last ?? this.before.get(stream) ?? 0)) {
      this.duplicated += 1;
      return;
    }
    if (last === undefined) this.first.set(stream, seq);
    else this.lost += seq - last - 1;
    this.last.set(stream, seq);
    this.received += 1;
  }

  /**
   * Counts what is missing before the first message and after the last one. `opened` was read from the server's rows
   * after the connection was there, `ended` before the last messages had time to arrive: everything between is owed.
   */
  settle(opened: Map<string, number>, ended: Map<string, number>) {
    for (const [sku, final] of ended) {
      const floor = opened.get(sku) ?? 0;
      for (const stream of [sku, `stamped ${sku}`]) {
        const [first, last] = [this.first.get(stream), this.last.get(stream)];
        if (first === undefined || last === undefined) this.lost += Math.max(0, final - floor);
        else this.lost += Math.max(0, first - 1 - floor) + Math.max(0, final - last);
      }
    }
  }
}
