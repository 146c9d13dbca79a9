import type { Beginning, Feed } from "../stream/feed";
import type { ItemTable } from "./items";

/** Of more rows than this only those on the screen, and some around them, are subscribed to. */
export const MANY_ROWS = 500;

export interface NarrowOptions {
  items: ItemTable;
  feed: () => Pick<Feed, "turn" | "renew">;
  /** Rows that were not heard of since their last message are asked for. */
  refresh: (keys: string[]) => void;
}

/**
 * Which rows of the inventory are subscribed to. A table in an order that no change moves needs only those that are seen;
 * what changes elsewhere is fetched when it comes into view. In any other order every change counts.
 */
export class Narrow {
  /** The rows to hear of; null for all. */
  #wanted: ReadonlySet<string> | null = null;
  /** Those of the present connection. */
  #held: ReadonlySet<string> | null = null;

  constructor(private readonly options: NarrowOptions) {}

  get held(): ReadonlySet<string> | null {
    return this.#held;
  }

  /** What an address says of the rows. A beginning with rows begins with all of them. */
  query(beginning: Beginning): Record<string, string> {
    this.#held = "since" in beginning && this.options.items.size > MANY_ROWS ? this.#wanted : null;
    if (!this.#held) return {};
    const skus = [...this.#held].flatMap((key) => this.options.items.get(key)?.sku ?? []);
    return { sku: skus.join(",") };
  }

  /** The rows that are seen, and those around them, so that a little scrolling asks for nothing; null: all count. */
  want(seen: readonly string[], around: readonly string[] | null): void {
    const { items, feed, refresh } = this.options;
    if (around === null || items.size <= MANY_ROWS) {
      this.#wanted = null;
      if (this.#held) feed().renew();
      return;
    }
    const held = this.#held;
    if (around.length === 0 || (held && seen.every((key) => held.has(key)))) return;
    this.#wanted = new Set(around);
    feed().turn();
    // What was replayed since the last message of others says nothing of rows that nobody listened to.
    if (held) refresh(around.filter((key) => !held.has(key)));
  }

  /** All rows are here: from now on those that are wanted suffice. */
  settle(): void {
    if (this.#held === null && this.#wanted !== null && this.options.items.size > MANY_ROWS) this.options.feed().turn();
  }
}
