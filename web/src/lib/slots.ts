/**
 * Which element each row of a list has, where rows that go give theirs to rows that come. A row that stays keeps its element;
 * where all rows are others, the elements stay in their places.
 */
export class Slots {
  /** The rows that were placed last. */
  keys: readonly string[] = [];
  #slots: readonly number[] = [];

  of(keys: readonly string[]): readonly number[] {
    const known = new Map(this.keys.map((key, place) => [key, this.#slots[place]!]));
    const slots = keys.map((key) => known.get(key) ?? -1);
    const taken = new Set(slots);
    let spare = 0;
    for (const [place, slot] of slots.entries()) {
      if (slot !== -1) continue;
      let free = this.#slots[place] ?? -1;
      if (free === -1 || taken.has(free)) {
        while (taken.has(spare)) spare += 1;
        free = spare;
      }
      taken.add((slots[place] = free));
    }
    [this.keys, this.#slots] = [keys, slots];
    return slots;
  }
}
