import { adjustStock, ApiError, changeItem, type ItemChange, type ItemRecord } from "../api";
import { t } from "../lib/i18n.svelte";
import type { Id } from "../stream/messages";
import { Draft } from "./draft.svelte";
import type { Item } from "./items";

/** Clicks on one item are gathered into one request. */
const GATHER_MS = 250;

interface Adjustment {
  /** What is shown until the server has answered. */
  shown: number;
  unsent: number;
  inFlight: number;
  timer: ReturnType<typeof setTimeout> | null;
}

/** What edits need of the page that they are made on. */
export interface Shop {
  item(key: string): Item | undefined;
  /** The server's answer, which may ask for a log-in. */
  guard<T>(answer: Promise<T>): Promise<T>;
  put(record: ItemRecord, order: boolean): void;
  fail(text: string): void;
}

/** Edits that are shown at once, and taken back when the server refuses. */
export class Edits {
  adjustments = $state.raw<ReadonlyMap<string, Adjustment>>(new Map());
  /** The rows that are being edited. */
  drafts = $state.raw<ReadonlyMap<string, Draft>>(new Map());

  constructor(private readonly shop: Shop) {}

  adjust(key: string, delta: number): void {
    const item = this.shop.item(key);
    if (!item) return;
    const before = this.adjustments.get(key);
    const shown = (before?.shown ?? item.stock) + delta;
    if (shown < 0) return;
    if (before?.timer) clearTimeout(before.timer);
    const timer = setTimeout(() => void this.#send(key, item.id, item.sku), GATHER_MS);
    this.#set(key, { shown, unsent: (before?.unsent ?? 0) + delta, inFlight: before?.inFlight ?? 0, timer });
  }

  open(key: string): void {
    const item = this.shop.item(key);
    if (item && !this.drafts.has(key)) this.drafts = new Map(this.drafts).set(key, new Draft(item));
  }

  close(key: string): void {
    this.drafts = new Map([...this.drafts].filter(([other]) => other !== key));
  }

  /** Another person edits now. */
  forget(): void {
    this.drafts = new Map();
  }

  /** Rows have come or gone: what was typed into one that is gone has nowhere to be written. */
  rowsChanged(): void {
    for (const key of this.drafts.keys()) {
      if (this.shop.item(key)) continue;
      this.close(key);
      this.shop.fail(t("editGone"));
    }
  }

  /** Writes what was typed. Answers whether the row is done with. */
  async save(key: string): Promise<boolean> {
    const [draft, item] = [this.drafts.get(key), this.shop.item(key)];
    if (!draft || !item || draft.busy || draft.conflicts(item).length > 0) return false;
    const change = draft.change(item);
    draft.problem = "";
    try {
      draft.busy = true;
      if (Object.keys(change).length > 0) await this.change(key, change);
      if (this.drafts.get(key) === draft) this.close(key);
      return true;
    } catch (error) {
      draft.problem = error instanceof ApiError ? error.message : t("networkError");
      // Who has closed the form already believes that it was written.
      if (this.drafts.get(key) !== draft) this.shop.fail(t("notSaved", { sku: item.sku, why: draft.problem }));
      return false;
    } finally {
      draft.busy = false;
    }
  }

  async change(key: string, change: ItemChange): Promise<ItemRecord> {
    const item = this.shop.item(key);
    if (!item) throw new Error(t("gone"));
    const optimistic = change.stock_quantity;
    if (optimistic !== undefined) this.#set(key, { shown: optimistic, unsent: 0, inFlight: 1, timer: null });
    try {
      const record = await this.shop.guard(changeItem(item.id, change));
      this.shop.put(record, change.name !== undefined || change.category !== undefined);
      return record;
    } finally {
      if (optimistic !== undefined) this.#set(key, null);
    }
  }

  async #send(key: string, id: Id, sku: string): Promise<void> {
    const adjustment = this.adjustments.get(key);
    if (!adjustment) return;
    const delta = adjustment.unsent;
    if (delta === 0) {
      this.#settle(key, { ...adjustment, timer: null });
      return;
    }
    this.#set(key, { ...adjustment, unsent: 0, inFlight: adjustment.inFlight + 1, timer: null });
    let undo = 0;
    try {
      this.shop.put(await this.shop.guard(adjustStock(id, delta)), false);
    } catch (error) {
      undo = delta;
      this.shop.fail(t("adjustFailed", { sku, why: error instanceof ApiError ? error.message : t("networkError") }));
    }
    const after = this.adjustments.get(key);
    if (after) this.#settle(key, { ...after, inFlight: after.inFlight - 1, shown: after.shown - undo });
  }

  /** Once nothing is under way the row itself is shown again. */
  #settle(key: string, adjustment: Adjustment): void {
    this.#set(key, adjustment.inFlight === 0 && adjustment.unsent === 0 && !adjustment.timer ? null : adjustment);
  }

  #set(key: string, adjustment: Adjustment | null): void {
    const next = new Map(this.adjustments);
    if (adjustment) next.set(key, adjustment);
    else next.delete(key);
    this.adjustments = next;
  }
}
