import type { PriceRecord } from "../api";
import { toNumber } from "../lib/format";
import type { Amount, PriceUpdate } from "../stream/messages";
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

/** The active price of each item and currency, from a snapshot and the messages since. */
export class PriceTable {
  #rows = new Map<string, Price>();

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Price | undefined {
    return this.#rows.get(key);
  }

  replace(records: PriceRecord[], keepPartial: boolean): void {
    const before = this.#rows;
    this.#rows = new Map();
    for (const record of records) {
      if (!record.is_active) continue;
      const key = keyOf(record.inventory_id, record.currency);
      const known = this.#rows.get(key);
      // Of several active prices the one that was set last holds.
      if (known && isOlder(record.updated_at, known.updatedAt)) continue;
      const old = before.get(key);
      const price = toNumber(record.selling_price);
      const moved = old !== undefined && price !== null && price !== toNumber(old.price);
      this.#rows.set(key, {
        key,
        inventoryKey: String(record.inventory_id),
        sku: record.sku,
        name: record.name,
        price: record.selling_price,
        discount: record.discount_price,
        margin: toNumber(record.margin_percent),
        currency: record.currency,
        awaitsApproval: record.requires_approval,
        changePercent: old?.changePercent ?? null,
        changedAtMs: old?.changedAtMs ?? 0,
        turn: old?.turn ?? 0,
        updatedAt: record.updated_at ?? null,
        trail: old ? (moved ? extend(old.trail, price) : old.trail) : price === null ? [] : [price],
        partial: false,
      });
    }
    if (!keepPartial) return;
    for (const [key, row] of before) if (row.partial && !this.#rows.has(key)) this.#rows.set(key, row);
  }

  apply(message: PriceUpdate, buffered: boolean, nowMs: number): boolean {
    const currency = message.currency ?? "JPY";
    const key = keyOf(message.inventory_id, currency);
    const before = this.#rows.get(key);
    if (buffered && before && isOlder(message.timestamp, before.updatedAt)) return false;
    if (message.action === "deleted") return this.#rows.delete(key);
    const price = message.new_price ?? before?.price ?? null;
    const number = toNumber(price);
    const oldNumber = toNumber(before?.price);
    const old = toNumber(message.old_price) ?? oldNumber;
    const moved = number !== null && number !== oldNumber;
    // A snapshot may already hold the new price; the message then still tells what it was before.
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

  hasPartial(): boolean {
    for (const row of this.#rows.values()) if (row.partial) return true;
    return false;
  }

  /** The prices that moved last come first, then the others by SKU. */
  view(limit: number): string[] {
    return [...this.#rows.values()]
      .sort((a, b) => b.changedAtMs - a.changedAtMs || (a.sku < b.sku ? -1 : a.sku > b.sku ? 1 : 0))
      .slice(0, limit)
      .map((row) => row.key);
  }
}

function extend(trail: readonly number[], price: number): number[] {
  return [...trail.slice(1 - TRAIL_LENGTH), price];
}

