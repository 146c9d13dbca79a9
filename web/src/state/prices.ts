import type { PriceRecord } from "../api";
import { toNumber } from "../lib/format";
import type { Amount, PriceRow, PriceUpdate } from "../stream/messages";
import { isOlder } from "../stream/timestamp";

export interface Price {
  readonly key: string;
  readonly inventoryKey: string;
  readonly sku: string;
  readonly name: string;
  readonly price: Amount | null;
  readonly discount: Amount | null;
  readonly margin: number | null;
  readonly currency: string;
  readonly awaitsApproval: boolean;
  /** Of the last change seen. */
  readonly changePercent: number | null;
  readonly changedAtMs: number;
  readonly turn: number;
  readonly updatedAt: string | null;
  /** The last prices seen, oldest first: the small curve beside the figure. */
  readonly trail: readonly number[];
  readonly partial: boolean;
}

const TRAIL_LENGTH = 24;

const keyOf = (inventoryId: unknown, currency: string): string => `${String(inventoryId)} ${currency}`;

/** The active price of each item and currency, from the feed's rows and the messages since. */
export class PriceTable {
  #rows = new Map<string, Price>();
  /** By item; null until somebody asks. */
  #currencies: Map<string, string[]> | null = null;
  /** Null until somebody asks. */
  #bySku: string[] | null = null;
  /** Those that have moved, the last one at the end. */
  #moved = new Set<string>();
  /** Rises when prices come or go or are called another name. */
  membership = 0;

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Price | undefined {
    return this.#rows.get(key);
  }

  /** Puts the feed's rows in place of all that is here; what only the API tells of a row is kept. */
  replace(rows: PriceRow[]): void {
    const before = this.#rows;
    this.#rows = new Map();
    this.#changed();
    for (const row of rows) {
      const key = keyOf(row.inventory_id, row.currency);
      const old = before.get(key);
      const price = toNumber(row.new_price);
      const moved = old !== undefined && price !== null && price !== toNumber(old.price);
      this.#rows.set(key, {
        key,
        inventoryKey: String(row.inventory_id),
        sku: row.sku,
        name: old?.name ?? "",
        price: row.new_price,
        discount: old?.discount ?? null,
        margin: old?.margin ?? null,
        currency: row.currency,
        awaitsApproval: old?.awaitsApproval ?? false,
        changePercent: old?.changePercent ?? null,
        changedAtMs: old?.changedAtMs ?? 0,
        turn: old?.turn ?? 0,
        updatedAt: row.timestamp,
        trail: old ? (moved ? extend(old.trail, price) : old.trail) : price === null ? [] : [price],
        partial: old?.partial ?? true,
      });
    }
    for (const key of this.#moved) if (!this.#rows.has(key)) this.#moved.delete(key);
  }

  /** Adds what the feed does not carry. Answers whether a row is another now. */
  describe(records: PriceRecord[]): boolean {
    const latest = new Map<string, PriceRecord>();
    for (const record of records) {
      const key = keyOf(record.inventory_id, record.currency);
      const known = latest.get(key);
      // Of several active prices the one that was set last holds.
      if (record.is_active && !(known && isOlder(record.updated_at, known.updated_at))) latest.set(key, record);
    }
    let changed = false;
    for (const [key, record] of latest) {
      const row = this.#rows.get(key);
      if (!row) continue;
      const details = { name: record.name, discount: record.discount_price ?? null, margin: toNumber(record.margin_percent), awaitsApproval: record.requires_approval };
      this.#rows.set(key, { ...row, ...details, partial: false });
      if (row.name !== details.name) this.membership += 1;
      changed = true;
    }
    return changed;
  }

  apply(message: PriceUpdate, nowMs: number): boolean {
    const currency = message.currency ?? "JPY";
    const key = keyOf(message.inventory_id, currency);
    const before = this.#rows.get(key);
    if (!before || message.action === "deleted") this.#changed();
    this.#moved.delete(key);
    if (message.action !== "deleted") this.#moved.add(key);
    if (message.action === "deleted") return this.#rows.delete(key);
    const price = message.new_price ?? before?.price ?? null;
    const number = toNumber(price);
    const oldNumber = toNumber(before?.price);
    const old = toNumber(message.old_price) ?? oldNumber;
    const moved = number !== null && number !== oldNumber;
    const percent = toNumber(message.price_change_percent) ?? (old && number !== null ? ((number - old) / old) * 100 : null);
    const trail = before?.trail.length ? before.trail : old !== null ? [old] : [];
    this.#rows.set(key, {
      key,
      inventoryKey: String(message.inventory_id),
      sku: message.sku ?? before?.sku ?? "",
      name: before?.name ?? "",
      price,
      discount: before?.discount ?? null,
      margin: before?.margin ?? null,
      currency,
      awaitsApproval: before?.awaitsApproval ?? false,
      changePercent: percent,
      changedAtMs: nowMs,
      turn: (before?.turn ?? 0) + 1,
      updatedAt: message.timestamp ?? before?.updatedAt ?? null,
      trail: moved ? extend(trail, number) : trail,
      partial: before?.partial ?? true,
    });
    return true;
  }

  /** The keys of all, by SKU. */
  bySku(): readonly string[] {
    const sku = (key: string): string => this.#rows.get(key)!.sku;
    return (this.#bySku ??= [...this.#rows.keys()].sort((a, b) => (sku(a) < sku(b) ? -1 : sku(a) > sku(b) ? 1 : 0)));
  }

  /** One of an item's prices, for its name and its currency. */
  ofItem(inventoryKey: string): Price | undefined {
    const [first] = this.currenciesOf(inventoryKey);
    return this.#rows.get(keyOf(inventoryKey, "JPY")) ?? (first === undefined ? undefined : this.#rows.get(keyOf(inventoryKey, first)));
  }

  /** In which currencies an item has a price. */
  currenciesOf(inventoryKey: string): string[] {
    if (!this.#currencies) {
      this.#currencies = new Map();
      for (const row of this.#rows.values()) this.#currencies.set(row.inventoryKey, [...(this.#currencies.get(row.inventoryKey) ?? []), row.currency]);
    }
    return this.#currencies.get(inventoryKey) ?? [];
  }

  /** The prices that moved last come first, then the others by SKU. */
  view(limit: number): string[] {
    const moved = [...this.#moved].slice(-limit).reverse();
    for (const key of moved.length < limit ? this.bySku() : []) {
      if (moved.length === limit) break;
      if (!this.#moved.has(key)) moved.push(key);
    }
    return moved;
  }

  #changed(): void {
    this.#currencies = this.#bySku = null;
    this.membership += 1;
  }
}

function extend(trail: readonly number[], price: number): number[] {
  return [...trail.slice(1 - TRAIL_LENGTH), price];
}

