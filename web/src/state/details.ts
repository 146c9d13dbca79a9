import { fetchInactive, fetchItem, fetchItems, fetchPrices } from "../api";
import type { ItemTable } from "./items";
import type { PriceTable } from "./prices";

/** Items that only messages know have their details fetched at most this often. */
const EVERY_MS = 5_000;
/** Above this many items details are asked for as rows come into view, not all at once. */
const MANY_ITEMS = 5_000;
/** Rows that are asked about with one look, and at a time. */
const AT_ONCE = 60;
const WIDTH = 6;

export interface DetailsOptions {
  items: ItemTable;
  prices: PriceTable;
  guard<T>(answer: Promise<T>): Promise<T>;
  itemsChanged(): void;
  pricesChanged(): void;
}

/** Fetches what neither the feeds' rows nor their messages carry. What cannot be had now is asked for again later. */
export class Details {
  wantsItems = false;
  wantsPrices = false;
  #askedAtMs = 0;
  #described = new Set<string>();

  constructor(private readonly options: DetailsOptions) {}

  isDue(nowMs: number): boolean {
    return (this.wantsItems || this.wantsPrices) && nowMs - this.#askedAtMs >= EVERY_MS;
  }

  async fetch(): Promise<void> {
    const { items, prices, guard, itemsChanged, pricesChanged } = this.options;
    this.#askedAtMs = Date.now();
    const [wantsItems, wantsPrices] = [this.wantsItems, this.wantsPrices];
    this.wantsItems = this.wantsPrices = false;
    try {
      const all = items.size > MANY_ITEMS ? fetchInactive : fetchItems;
      if (wantsItems && items.describe(await guard(all()))) itemsChanged();
    } catch {
      this.wantsItems = true;
    }
    try {
      if (wantsPrices && prices.describe(await guard(fetchPrices()))) pricesChanged();
    } catch {
      this.wantsPrices = true;
    }
  }

  /** Rows that came into view: those of a large shop are described one by one. */
  seen(keys: readonly string[]): void {
    const { items } = this.options;
    if (items.size <= MANY_ITEMS) return;
    const asked = keys.filter((key) => items.get(key)?.partial && !this.#described.has(key)).slice(0, AT_ONCE);
    for (const key of asked) this.#described.add(key);
    if (asked.length > 0) void this.#each(asked, (known) => items.describe(known));
  }

  /** Asks for rows as they are now, whatever is known of them. */
  async refresh(keys: readonly string[], take: (records: Awaited<ReturnType<typeof fetchItem>>[]) => boolean): Promise<void> {
    for (const key of keys) this.#described.add(key);
    await this.#each(keys, take);
  }

  async #each(keys: readonly string[], take: (records: Awaited<ReturnType<typeof fetchItem>>[]) => boolean): Promise<void> {
    const { items, itemsChanged } = this.options;
    for (let from = 0; from < keys.length; from += WIDTH) {
      const part = keys.slice(from, from + WIDTH).flatMap((key) => items.get(key) ?? []);
      const records = await Promise.allSettled(part.map((item) => fetchItem(item.id)));
      const known = records.flatMap((record) => (record.status === "fulfilled" ? [record.value] : []));
      if (take(known)) itemsChanged();
    }
  }
}
