import type { Item, Level } from "./items";

export type SortKey = "sku" | "name" | "category" | "stock" | "available" | "status" | "updated";
type TextKey = "sku" | "name" | "category";

export interface View {
  sort: SortKey;
  descending: boolean;
  search: string;
  only: Level | null;
  category: string | null;
}

/** The keys to show, in order. Only those that are looked at are read. */
export interface Keys {
  readonly length: number;
  at(index: number): string | undefined;
  slice(from: number, to?: number): string[];
}

type Compare = (a: number, b: number) => number;

const TEXTS: readonly TextKey[] = ["sku", "name", "category"];
const LEVEL_ORDER: Record<Level, number> = { out: 0, low: 1, ok: 2 };
/** More than any stock, so that levels come first. */
const LEVEL_STEP = 1e12;

/**
 * The orders of all items, which follow what changes. Rows are numbers here, and what they are compared by lies in arrays of
 * numbers: fifty thousand rows that changed one by one lie all over the memory, and to read each of them takes longer than
 * a frame.
 */
export class Orders {
  #ids = new Map<string, number>();
  #items: (Item | undefined)[] = [];
  /** What a search looks into; made when it is first needed. */
  #texts: (string | undefined)[] = [];
  #free: number[] = [];
  #collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  /** The orders by text that have been asked for. Texts are dear to compare, so it is done once and then by rank. */
  #byText = new Map<TextKey, Int32Array>();
  #ranks = { sku: new Float64Array(), name: new Float64Array(), category: new Float64Array() };
  /** What the order that was asked for last compares by, falling orders with the sign turned. */
  #values = new Float64Array();
  #out = new Uint8Array();
  #last: { choice: string; ids: Int32Array; keys: Keys } | null = null;
  /** What happened since then. */
  #changed = new Set<number>();
  #renamed = new Set<number>();
  #gone = new Set<number>();

  set(item: Item): void {
    const known = this.#ids.get(item.key);
    const id = known ?? this.#free.pop() ?? this.#items.length;
    const before = this.#items[id];
    if (known === undefined) this.#ids.set(item.key, id);
    if (!before || before.sku !== item.sku || before.name !== item.name || before.category !== item.category) {
      this.#texts[id] = undefined;
      this.#renamed.add(id);
    }
    this.#items[id] = item;
    this.#changed.add(id);
  }

  delete(key: string): void {
    const id = this.#ids.get(key);
    if (id === undefined) return;
    this.#ids.delete(key);
    this.#items[id] = this.#texts[id] = undefined;
    this.#renamed.delete(id);
    this.#changed.delete(id);
    this.#gone.add(id);
  }

  clear(): void {
    this.#ids.clear();
    this.#items = [];
    this.#texts = [];
    this.#free = [];
    this.#byText.clear();
    this.#last = null;
    for (const set of [this.#changed, this.#renamed, this.#gone]) set.clear();
  }

  view(view: View): Keys {
    this.#grow();
    const choice = JSON.stringify(view);
    const known = this.#last?.choice === choice ? this.#last : null;
    const isRanked = this.#rank(view.sort);
    if (known && this.#changed.size + this.#gone.size === 0) return known.keys;
    this.#value(view, known && !isRanked ? this.#changed : this.#ids.values());
    const [values, skus] = [this.#values, this.#ranks.sku];
    const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
    const compare: Compare = (a, b) => values[a]! - values[b]! || skus[a]! - skus[b]!;
    const ids = this.#moved(known?.ids ?? null, this.#changed, compare, (id) => this.#isShown(id, view, words));
    for (const id of this.#gone) this.#free.push(id);
    this.#changed.clear();
    this.#gone.clear();
    this.#last = { choice, ids, keys: this.#keys(ids) };
    return this.#last.keys;
  }

  /** Keys are those of the rows as they are named now: a row that has gone has none. */
  #keys(ids: Int32Array): Keys {
    const items = this.#items;
    return {
      length: ids.length,
      at: (index) => items[ids[index] ?? -1]?.key,
      slice: (from, to) => Array.from(ids.subarray(from, to)).flatMap((id) => items[id]?.key ?? []),
    };
  }

  #grow(): void {
    if (this.#out.length >= this.#items.length) return;
    const room = Math.ceil(this.#items.length * 1.5);
    const wider = (list: Float64Array): Float64Array<ArrayBuffer> => {
      const wide = new Float64Array(room);
      wide.set(list);
      return wide;
    };
    this.#values = wider(this.#values);
    for (const text of TEXTS) this.#ranks[text] = wider(this.#ranks[text]);
    this.#out = new Uint8Array(room);
  }

  /** Brings up to date the ranks that an order needs; answers whether any is another. Equal texts have equal ranks. */
  #rank(sort: SortKey): boolean {
    const isOld = this.#renamed.size + this.#gone.size > 0;
    let isAnother = false;
    for (const text of TEXTS) {
      const known = this.#byText.get(text) ?? null;
      if (known ? !isOld : text !== "sku" && text !== sort) continue;
      const [items, ranks] = [this.#items, this.#ranks[text]];
      const compare: Compare = (a, b) => this.#collator.compare(items[a]![text], items[b]![text]);
      const ids = this.#moved(known, this.#renamed, compare, () => true);
      let rank = 0;
      for (let at = 0; at < ids.length; at += 1) {
        if (at > 0 && compare(ids[at - 1]!, ids[at]!) !== 0) rank = at;
        ranks[ids[at]!] = rank;
      }
      this.#byText.set(text, ids);
      isAnother = true;
    }
    this.#renamed.clear();
    return isAnother;
  }

  /** Notes what rows are compared by. */
  #value({ sort, descending }: View, ids: Iterable<number>): void {
    const sign = descending ? -1 : 1;
    const [items, values] = [this.#items, this.#values];
    if (sort === "sku" || sort === "name" || sort === "category") {
      const ranks = this.#ranks[sort];
      for (const id of ids) values[id] = sign * ranks[id]!;
    } else {
      const of = VALUES[sort];
      for (const id of ids) values[id] = sign * of(items[id]!);
    }
  }

  /** An order without what is gone, and with what changed in its new place: the rest is compared with that only. */
  #moved(known: Int32Array | null, changed: ReadonlySet<number>, compare: Compare, isShown: (id: number) => boolean): Int32Array {
    if (!known || changed.size > known.length / 4) return Int32Array.from([...this.#ids.values()].filter(isShown)).sort(compare);
    for (const set of [changed, this.#gone]) for (const id of set) this.#out[id] = 1;
    const rest = new Int32Array(known.length);
    let length = 0;
    for (let at = 0; at < known.length; at += 1) if (this.#out[known[at]!] === 0) rest[length++] = known[at]!;
    for (const set of [changed, this.#gone]) for (const id of set) this.#out[id] = 0;
    return merged(rest.subarray(0, length), [...changed].filter(isShown).sort(compare), compare);
  }

  #isShown(id: number, { only, category }: View, words: readonly string[]): boolean {
    const item = this.#items[id]!;
    if (only && (item.level !== only || !item.active)) return false;
    if (category !== null && item.category !== category) return false;
    if (words.length === 0) return true;
    const text = (this.#texts[id] ??= `${item.sku} ${item.name} ${item.category}`.toLowerCase());
    return words.every((word) => text.includes(word));
  }
}

const VALUES: Record<Exclude<SortKey, TextKey>, (item: Item) => number> = {
  stock: (item) => item.stock,
  available: (item) => item.available,
  updated: (item) => item.updatedAtMs,
  status: (item) => LEVEL_ORDER[item.level] * LEVEL_STEP + item.available,
};

function merged(rest: Int32Array, fresh: readonly number[], compare: Compare): Int32Array {
  const all = new Int32Array(rest.length + fresh.length);
  let [from, length] = [0, 0];
  for (const id of fresh) {
    let [low, high] = [from, rest.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(rest[middle]!, id) < 0) low = middle + 1;
      else high = middle;
    }
    all.set(rest.subarray(from, low), length);
    length += low - from;
    from = low;
    all[length++] = id;
  }
  all.set(rest.subarray(from), length);
  return all;
}
