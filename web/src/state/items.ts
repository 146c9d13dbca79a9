import type { ItemRecord } from "../api";
import type { Id, InventoryRow, InventoryUpdate } from "../stream/messages";
import { isOlder, parseMs } from "../stream/timestamp";
import { Orders, type Keys, type View } from "./orders";

export type { Keys, SortKey, View } from "./orders";

export type Level = "ok" | "low" | "out";

/** A row is replaced, never changed, so that a view re-renders exactly the rows that differ. */
export interface Item {
  readonly key: string;
  readonly id: Id;
  readonly sku: string;
  readonly name: string;
  readonly category: string;
  readonly stock: number;
  readonly reserved: number;
  readonly available: number;
  readonly min: number | null;
  readonly level: Level;
  readonly active: boolean;
  readonly updatedAt: string | null;
  readonly updatedAtMs: number;
  /** When a message last changed the stock here, and by how much: what makes a row flash. */
  readonly changedAtMs: number;
  readonly delta: number;
  /** Counts changes; its parity restarts the animation of a row that changes while it still flashes. */
  readonly turn: number;
  /** Not yet described by the API, so its minimum is not known. */
  readonly partial: boolean;
}

export type Effect = "none" | "value" | "membership";

const level = (stock: number, available: number, isLow: boolean): Level =>
  stock <= 0 || available <= 0 ? "out" : isLow ? "low" : "ok";

/** All items by id: the feed's rows, and the messages since. Knows nothing of pages or frames. */
export class ItemTable {
  #rows = new Map<string, Item>();
  #collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  #tally = { ok: 0, low: 0, out: 0 };
  #lanes: Record<"low" | "out", Set<string>> = { low: new Set(), out: new Set() };
  #categories = new Map<string, number>();
  #orders = new Orders();
  /** Rises when rows come or go or are called another name; until then orders by text stand. */
  membership = 0;

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Item | undefined {
    return this.#rows.get(key);
  }

  /** SKU and id of each item. */
  *entries(): Generator<[string, Id]> {
    for (const row of this.#rows.values()) yield [row.sku, row.id];
  }

  /** Puts the feed's rows in place of all that is here; what only the API tells of a row is kept. */
  replace(rows: InventoryRow[], nowMs: number): void {
    const before = this.#rows;
    this.#rows = new Map();
    this.#orders.clear();
    this.#tally = { ok: 0, low: 0, out: 0 };
    this.#lanes = { low: new Set(), out: new Set() };
    this.#categories = new Map();
    for (const row of rows) this.#set(fromRow(row, before.get(String(row.item_id)), nowMs));
    this.membership += 1;
  }

  /** Rows of a part of the table: those of its keys that are not among them are gone. */
  merge(rows: InventoryRow[], keys: ReadonlySet<string>, nowMs: number): void {
    const here = new Set<string>();
    for (const row of rows) {
      const item = fromRow(row, this.#rows.get(String(row.item_id)), nowMs);
      here.add(item.key);
      this.#set(item);
    }
    for (const key of keys) if (!here.has(key)) this.#delete(key);
  }

  /** Adds what the feed does not carry. Answers whether a row is another now. */
  describe(records: ItemRecord[]): boolean {
    let changed = false;
    for (const record of records) {
      const row = this.#rows.get(String(record.id));
      if (!row) continue;
      const [min, active] = [record.min_stock_level, record.is_active];
      if (!row.partial && row.min === min && row.active === active) continue;
      this.#set({ ...row, min, active, category: record.category ?? "", partial: false });
      changed = true;
    }
    return changed;
  }

  /** The row as an answer of the API gives it, unless a message has already brought a newer one. */
  put(record: ItemRecord, nowMs: number): Effect {
    const before = this.#rows.get(String(record.id));
    if (before && (isSame(record, before) || isOlder(record.updated_at, before.updatedAt))) return "none";
    this.#set(fromRecord(record, before, nowMs));
    return before ? "value" : "membership";
  }

  /** Messages count in the order in which they arrive: that of their channel. */
  apply(message: InventoryUpdate, nowMs: number): Effect {
    const key = String(message.item_id);
    const before = this.#rows.get(key);
    if (message.action === "deleted") return this.#delete(key) ? "membership" : "none";
    const stock = message.stock_quantity ?? before?.stock ?? 0;
    const available = message.available_quantity ?? Math.max(0, stock - (before?.reserved ?? 0));
    const min = before?.min ?? null;
    const isLow = message.is_low_stock ?? (min !== null && available <= min);
    const delta = before ? stock - before.stock : 0;
    const changed = delta !== 0 || !before;
    this.#set({
      key,
      id: message.item_id,
      sku: message.sku,
      name: message.name ?? before?.name ?? "",
      category: before?.category ?? "",
      stock,
      available,
      reserved: Math.max(0, stock - available),
      min,
      level: level(stock, available, isLow),
      active: before?.active ?? true,
      updatedAt: message.timestamp ?? before?.updatedAt ?? null,
      updatedAtMs: nowMs,
      changedAtMs: changed ? nowMs : (before?.changedAtMs ?? 0),
      delta: changed ? delta : (before?.delta ?? 0),
      turn: (before?.turn ?? 0) + (changed ? 1 : 0),
      partial: before?.partial ?? true,
    });
    return before ? "value" : "membership";
  }

  tally(): Record<Level, number> {
    return { ...this.#tally };
  }

  /** The items that are low or out, those that changed last on top: each change puts a row at the end of its lane. */
  lane(of: "low" | "out", limit: number): Item[] {
    const lane = this.#lanes[of];
    const last: string[] = [];
    let left = lane.size;
    for (const key of lane) if ((left -= 1) < limit) last.push(key);
    return last
      .map((key) => this.#rows.get(key)!)
      .sort((a, b) => b.updatedAtMs - a.updatedAtMs || a.available - b.available);
  }

  categories(): string[] {
    return [...this.#categories.keys()].filter(Boolean).sort(this.#collator.compare);
  }

  /** Whether a view can change without rows coming or going. */
  isSettled(view: View): boolean {
    return view.only === null && (view.sort === "sku" || view.sort === "name" || view.sort === "category");
  }

  /** The keys to show, in order. */
  view(view: View): Keys {
    return this.#orders.view(view);
  }

  #set(row: Item): void {
    const before = this.#rows.get(row.key);
    if (before) this.#count(before, -1);
    if (!before || before.sku !== row.sku || before.name !== row.name || before.category !== row.category) this.membership += 1;
    this.#rows.set(row.key, row);
    this.#orders.set(row);
    this.#count(row, 1);
  }

  #delete(key: string): boolean {
    const row = this.#rows.get(key);
    if (!row) return false;
    this.#count(row, -1);
    this.#rows.delete(key);
    this.#orders.delete(key);
    this.membership += 1;
    return true;
  }

  #count(row: Item, by: 1 | -1): void {
    const categories = (this.#categories.get(row.category) ?? 0) + by;
    if (categories > 0) this.#categories.set(row.category, categories);
    else this.#categories.delete(row.category);
    if (!row.active) return;
    this.#tally[row.level] += by;
    if (row.level === "ok") return;
    if (by === 1) this.#lanes[row.level].add(row.key);
    else this.#lanes[row.level].delete(row.key);
  }
}

function fromRow(row: InventoryRow, before: Item | undefined, nowMs: number): Item {
  const [stock, available] = [row.stock_quantity, row.available_quantity];
  return {
    key: String(row.item_id),
    id: row.item_id,
    sku: row.sku,
    name: row.name,
    category: row.category ?? "",
    stock,
    available,
    reserved: Math.max(0, stock - available),
    min: before?.min ?? null,
    level: level(stock, available, row.is_low_stock),
    active: before?.active ?? true,
    updatedAt: row.timestamp,
    updatedAtMs: parseMs(row.timestamp) ?? nowMs,
    ...moved(stock, before, nowMs),
    partial: before?.partial ?? true,
  };
}

/** What makes a row flash whose stock is another than it was. */
function moved(stock: number, before: Item | undefined, nowMs: number): Pick<Item, "changedAtMs" | "delta" | "turn"> {
  if (!before) return { changedAtMs: 0, delta: 0, turn: 0 };
  if (stock === before.stock) return { changedAtMs: before.changedAtMs, delta: before.delta, turn: before.turn };
  return { changedAtMs: nowMs, delta: stock - before.stock, turn: before.turn + 1 };
}

/** What is the same stays the same object, which nobody draws again. */
function isSame(record: ItemRecord, row: Item): boolean {
  return (
    !row.partial && record.updated_at === row.updatedAt && record.stock_quantity === row.stock && record.available_quantity === row.available &&
    record.min_stock_level === row.min && record.is_active === row.active && record.sku === row.sku && record.name === row.name && (record.category ?? "") === row.category
  );
}

function fromRecord(record: ItemRecord, before: Item | undefined, nowMs: number): Item {
  const stock = record.stock_quantity;
  return {
    key: String(record.id),
    id: record.id,
    sku: record.sku,
    name: record.name,
    category: record.category ?? "",
    stock,
    reserved: record.reserved_quantity,
    available: record.available_quantity,
    min: record.min_stock_level,
    level: level(stock, record.available_quantity, record.is_low_stock),
    active: record.is_active,
    updatedAt: record.updated_at,
    updatedAtMs: parseMs(record.updated_at) ?? nowMs,
    ...moved(stock, before, nowMs),
    partial: false,
  };
}
