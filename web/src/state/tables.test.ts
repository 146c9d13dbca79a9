import { describe, expect, it } from "vitest";

import type { ItemRecord, PriceRecord } from "../api";
import type { InventoryRow, InventoryUpdate, PriceRow, PriceUpdate } from "../stream/messages";
import { batch, learningEvent, matchNotice, mergeAlerts, notice, stockAlert } from "./activity";
import { ItemTable, type Item, type Level, type SortKey } from "./items";
import { PriceTable } from "./prices";

const at = (second: number): string => `2026-11-21T04:00:${String(second).padStart(2, "0")}.000000Z`;

function record(id: number, fields: Partial<ItemRecord> = {}): ItemRecord {
  return {
    id,
    sku: `SKU-${id}`,
    name: `Item ${id}`,
    category: "tea",
    stock_quantity: 50,
    reserved_quantity: 0,
    available_quantity: 50,
    is_low_stock: false,
    min_stock_level: 10,
    is_active: true,
    updated_at: at(10),
    ...fields,
  };
}

function row(id: number, fields: Partial<InventoryRow> = {}): InventoryRow {
  return {
    item_id: id,
    sku: `SKU-${id}`,
    name: `Item ${id}`,
    category: "tea",
    stock_quantity: 50,
    available_quantity: 50,
    is_low_stock: false,
    timestamp: at(10),
    ...fields,
  };
}

function update(id: number, stock: number, second: number, fields: Partial<InventoryUpdate> = {}): InventoryUpdate {
  return {
    message_type: "inventory_update",
    action: "updated",
    item_id: id,
    sku: `SKU-${id}`,
    name: `Item ${id}`,
    stock_quantity: stock,
    available_quantity: stock,
    is_low_stock: stock <= 10,
    timestamp: at(second),
    ...fields,
  };
}

const view = (items: ItemTable, sort: SortKey, descending: boolean, search: string, only: Level | null, category: string | null = null) =>
  items.view({ sort, descending, search, only, category }).slice(0);

const rowOf = ({ id, sku, name, category, stock, available, level }: Item): InventoryRow =>
  row(Number(id), { sku, name, category, stock_quantity: stock, available_quantity: available, is_low_stock: level !== "ok" });

describe("items", () => {
  it("begins with the feed's rows, follows its messages, and keeps what only the API tells", () => {
    const items = new ItemTable();
    items.replace([row(1, { available_quantity: 45 }), row(2)], 0);
    expect(items.get("1")).toMatchObject({ stock: 50, reserved: 5, min: null, category: "tea", partial: true });
    expect(items.describe([record(1), record(9)])).toBe(true);
    expect(items.describe([record(1)])).toBe(false);
    expect(items.apply(update(1, 47, 11), 1)).toBe("value");
    expect(items.get("1")).toMatchObject({ stock: 47, delta: -3, category: "tea", min: 10, partial: false });
    items.replace([row(1, { stock_quantity: 40 })], 2);
    expect(items.get("1")).toMatchObject({ stock: 40, delta: -7, min: 10, partial: false });
    expect(items.get("2")).toBeUndefined();
  });

  it("trusts the order of arrival, whatever clock the publisher has", () => {
    const items = new ItemTable();
    items.replace([row(1)], 0);
    items.apply(update(1, 44, 3), 1);
    expect(items.get("1")!.stock).toBe(44);
    expect(items.apply(update(1, 0, 2, { action: "deleted" }), 1)).toBe("membership");
    expect(items.size).toBe(0);
  });

  it("does not let a late answer of the API undo what is newer", () => {
    const items = new ItemTable();
    items.replace([row(1)], 0);
    items.apply(update(1, 30, 20), 1);
    expect(items.put(record(1, { stock_quantity: 31, updated_at: at(19) }), 2)).toBe("none");
    items.describe([record(1, { stock_quantity: 31, updated_at: at(21) })]);
    expect(items.get("1")!.stock).toBe(30);
  });

  it("tells ok, low and out apart, and counts active items only", () => {
    const items = new ItemTable();
    const gone = { stock_quantity: 0, available_quantity: 0, is_low_stock: true };
    items.replace([row(1), row(2, { available_quantity: 4, is_low_stock: true }), row(3, gone), row(4)], 0);
    items.describe([record(4, { is_active: false })]);
    expect(items.tally()).toEqual({ ok: 1, low: 1, out: 1 });
    expect(view(items, "sku", false, "", "out")).toEqual(["3"]);
  });

  it("sorts numbers in SKUs as numbers, and finds by several words", () => {
    const items = new ItemTable();
    items.replace([row(10), row(9), row(2, { name: "Green tea", category: "drinks" })], 0);
    expect(view(items, "sku", false, "", null)).toEqual(["2", "9", "10"]);
    expect(view(items, "sku", true, "", null)).toEqual(["10", "9", "2"]);
    expect(view(items, "sku", false, "drinks GREEN", null)).toEqual(["2"]);
  });

  it("finds the same order step by step as all at once", () => {
    const items = new ItemTable();
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
    items.replace(Array.from({ length: 200 }, (_, i) => row(i, { stock_quantity: random(60), available_quantity: random(60) })), 0);
    const views = [
      { sort: "stock", descending: true, search: "", only: null, category: null },
      { sort: "available", descending: false, search: "1", only: null, category: null },
      { sort: "status", descending: false, search: "", only: "low", category: null },
      { sort: "name", descending: true, search: "", only: null, category: null },
    ] as const;
    for (const view of views) {
      for (let turn = 1; turn <= 60; turn += 1) {
        for (let n = random(12); n > 0; n -= 1) items.apply(update(random(turn % 20 === 0 ? 220 : 200), random(60), turn % 60), turn);
        if (turn % 15 === 0) items.apply(update(random(200), 0, 1, { action: "deleted" }), turn);
        if (turn % 12 === 0) items.apply(update(random(200), 5, turn % 60, { sku: `NEW-${random(9)}`, name: `Item ${random(9)}` }), turn);
        const found = items.view(view).slice(0);
        // A view of another kind in between makes the table forget the order that it has.
        items.view({ ...view, search: "nothing" });
        const anew = items.view(view).slice(0);
        expect(found).toEqual(anew);
        const afresh = new ItemTable();
        afresh.replace(found.map((key) => rowOf(items.get(key)!)), 0);
        if (view.sort !== "status") expect(afresh.view(view).slice(0)).toEqual(found);
        items.view(view);
      }
    }
  });
});

describe("prices", () => {
  const price = (fields: Partial<PriceRecord> = {}): PriceRecord => ({
    id: 1,
    inventory_id: 1,
    sku: "SKU-1",
    name: "Item 1",
    selling_price: 1000,
    cost_price: 600,
    discount_price: null,
    currency: "JPY",
    margin_percent: 40,
    is_active: true,
    requires_approval: false,
    pending_price: null,
    updated_at: at(10),
    ...fields,
  });
  const priced = (id: number, new_price: string, currency = "JPY"): PriceRow => ({ inventory_id: id, sku: `SKU-${id}`, new_price, currency, timestamp: at(10) });
  const change = (fields: Partial<PriceUpdate> = {}): PriceUpdate => ({
    message_type: "price_update",
    action: "updated",
    inventory_id: 1,
    sku: "SKU-1",
    old_price: "1000.00",
    new_price: "1100.00",
    price_change_percent: "10.00",
    currency: "JPY",
    timestamp: at(11),
    ...fields,
  });

  it("follows a price and remembers where it came from", () => {
    const prices = new PriceTable();
    prices.replace([priced(1, "1000.00")]);
    expect(prices.get("1 JPY")).toMatchObject({ name: "", partial: true });
    prices.describe([price(), price({ id: 2, is_active: false, margin_percent: 1 })]);
    prices.apply(change(), 5);
    expect(prices.get("1 JPY")).toMatchObject({ price: "1100.00", changePercent: 10, trail: [1000, 1100], name: "Item 1", margin: 40, partial: false });
    prices.replace([priced(1, "1200.00")]);
    expect(prices.get("1 JPY")).toMatchObject({ price: "1200.00", trail: [1000, 1100, 1200], margin: 40 });
  });

  it("reckons the change itself when the publisher does not", () => {
    const prices = new PriceTable();
    prices.replace([priced(1, "1000.00")]);
    const { price_change_percent: _, ...bare } = change({ new_price: 900, old_price: 1000 });
    prices.apply(bare, 5);
    expect(prices.get("1 JPY")!.changePercent).toBeCloseTo(-10);
  });

  it("keeps currencies apart and the latest movers on top", () => {
    const prices = new PriceTable();
    prices.replace([priced(1, "1000.00"), priced(1, "7.00", "USD"), { ...priced(2, "5.00"), sku: "SKU-0" }]);
    prices.apply(change({ currency: "USD", new_price: "8.00", old_price: "7.00" }), 5);
    expect(prices.view(10)).toEqual(["1 USD", "2 JPY", "1 JPY"]);
    expect(prices.get("1 JPY")!.price).toBe("1000.00");
  });
});

describe("activity", () => {
  it("reads events of every version by what they contain", () => {
    expect(learningEvent({ eventType: "cell_executed", userName: "葵", notebookPath: "a/b.ipynb", cellIndex: 0, hasError: true, errorMessage: "boom" }, 1)).toMatchObject({
      kind: "failed",
      who: "葵",
      where: "b.ipynb",
      cell: 0,
      detail: "boom",
    });
    expect(learningEvent({ event_type: "help_stop", user_id: 7 }, 1)).toMatchObject({ kind: "helpEnd", who: "7" });
    expect(learningEvent({ eventType: "quiz_answered" }, 1)).toMatchObject({ kind: "other", type: "quiz_answered" });
  });

  it("survives messages that lack everything", () => {
    expect(learningEvent({}, 1)).toMatchObject({ kind: "other", who: "" });
    expect(matchNotice({}, 1)).toMatchObject({ count: null, detail: "" });
    expect(batch({ message_type: "batch_progress", batch_id: 1 }, 1)).toMatchObject({ total: 0, processed: 0 });
    expect(notice({ message_type: "x" }, 1)).toBeNull();
  });

  it("gives an item that goes on alerting one place and a count", () => {
    const alert = (sku: string) => stockAlert({ message_type: "stock_alert", alert_level: "low", item_id: 1, sku }, 1);
    const lane = mergeAlerts([alert("A"), alert("B")], [], 10);
    const next = mergeAlerts([alert("A"), alert("A")], lane, 10);
    expect(next.map((a) => [a.sku, a.times])).toEqual([
      ["A", 3],
      ["B", 1],
    ]);
  });
});
