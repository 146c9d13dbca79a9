import { fetchLevel, fetchTotal, type ItemRecord } from "../api";
import type { Item, ItemTable, Level } from "./items";
import { Polled } from "./polled.svelte";
import { parseMs } from "../stream/timestamp";

const EVERY_MS = 5_000;

/** As many as a lane shows, and some more for the alerts. */
const LATEST = 30;

interface Low {
  /** Those that changed last come first. */
  latest: Record<"low" | "out", ItemRecord[]>;
  totals: Record<"low" | "out", number>;
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
    return low.latest[of]
      .flatMap((record) => items.get(String(record.id)) ?? [])
      .filter((item) => item.level === of)
      .sort((a, b) => b.updatedAtMs - a.updatedAtMs)
      .slice(0, limit);
  }

  tally(): Record<Level, number> {
    const tally = this.options.items.tally();
    const low = this.#low;
    if (!this.active || !low) return tally;
    const active = tally.ok + tally.low + tally.out;
    return { ok: Math.max(0, active - low.totals.low - low.totals.out), ...low.totals };
  }

  #take(low: Low): Low {
    this.#low = low;
    const { items, put, alert, renew } = this.options;
    const known = this.#newestMs;
    // What is told last stands on top.
    const latest = [...low.latest.low, ...low.latest.out].sort((a, b) => (a.updated_at < b.updated_at ? -1 : 1));
    for (const record of latest) {
      const atMs = parseMs(record.updated_at) ?? 0;
      if (known !== null && atMs > known) alert(record);
      this.#newestMs = Math.max(this.#newestMs ?? 0, atMs);
    }
    this.#newestMs ??= 0;
    put(latest);
    const surplus = low.all - items.size;
    if (this.#surplus !== null && surplus !== this.#surplus) {
      this.#surplus = null;
      renew();
    } else this.#surplus = surplus;
    return low;
  }
}

async function ask(): Promise<Low> {
  const [low, out, all] = await Promise.all([fetchLevel("low", LATEST), fetchLevel("out", LATEST), fetchTotal()]);
  return { latest: { low: low.items, out: out.items }, totals: { low: low.pagination.total_items, out: out.pagination.total_items }, all };
}
