import { fetchTotal, fetchLow, type ItemRecord } from "../api";
import type { Item, ItemTable, Level } from "./items";
import { Polled } from "./polled.svelte";
import { parseMs } from "../stream/timestamp";

const EVERY_MS = 5_000;

interface Low {
  /** Those that changed last come first. */
  latest: ItemRecord[];
  /** Those with the least come first, so all that are out. */
  least: ItemRecord[];
  /** Low or out. */
  total: number;
  out: number;
  all: number;
}

export interface LevelsOptions {
  items: ItemTable;
  put: (records: ItemRecord[]) => void;
  /** An item that has become low or changed while low, of which no message tells. */
  alert: (record: ItemRecord) => void;
  /** There are more or fewer items than are known here. */
  renew: () => void;
}

/** What is low and out in a shop of which only a part is subscribed to: asked for every few seconds. */
export class Levels {
  active = $state(false);
  readonly poll: Polled<Low>;
  /** The last answer. The lanes look at it with their own beats. */
  #low: Low | null = null;
  #end: (() => void) | null = null;
  #newestMs: number | null = null;
  /** How many more there are than rows; what is constant in that is no news. */
  #surplus: number | null = null;

  constructor(private readonly options: LevelsOptions) {
    this.poll = new Polled(async () => this.#take(await ask()), EVERY_MS);
  }

  /** Asks for as long as only a part is subscribed to. */
  follow(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    this.#surplus = this.#newestMs = this.#low = null;
    this.#end?.();
    this.#end = active ? this.poll.start() : null;
  }

  lane(of: "low" | "out", limit: number): Item[] {
    const { items } = this.options;
    const low = this.#low;
    if (!this.active || !low) return items.lane(of, limit);
    const records = of === "out" ? low.least.filter((record) => record.available_quantity <= 0) : low.latest.filter((record) => record.available_quantity > 0);
    return records
      .flatMap((record) => items.get(String(record.id)) ?? [])
      .sort((a, b) => b.updatedAtMs - a.updatedAtMs)
      .slice(0, limit);
  }

  tally(): Record<Level, number> {
    const tally = this.options.items.tally();
    const low = this.#low;
    if (!this.active || !low) return tally;
    const active = tally.ok + tally.low + tally.out;
    return { ok: Math.max(0, active - low.total), low: low.total - low.out, out: low.out };
  }

  #take(low: Low): Low {
    this.#low = low;
    const { items, put, alert, renew } = this.options;
    const known = this.#newestMs;
    for (const record of low.latest) {
      const atMs = parseMs(record.updated_at) ?? 0;
      if (known !== null && atMs > known) alert(record);
      this.#newestMs = Math.max(this.#newestMs ?? 0, atMs);
    }
    this.#newestMs ??= 0;
    put([...low.latest, ...low.least]);
    const surplus = low.all - items.size;
    if (this.#surplus !== null && surplus !== this.#surplus) {
      this.#surplus = null;
      renew();
    } else this.#surplus = surplus;
    return low;
  }
}

/** Pages of items that are out are few; more are not counted. */
const PAGES = 10;

async function ask(): Promise<Low> {
  const [latest, first, all] = await Promise.all([fetchLow("updated_at", "desc", 1), fetchLow("available_quantity", "asc", 1), fetchTotal()]);
  const least = [...first.items];
  for (let page = 2; page <= PAGES && least.at(-1)?.available_quantity === 0 && least.length < first.pagination.total_items; page += 1) {
    least.push(...(await fetchLow("available_quantity", "asc", page)).items);
  }
  return { latest: latest.items, least, total: first.pagination.total_items, out: least.filter((record) => record.available_quantity <= 0).length, all };
}
