import { read } from "../api";
import type { Pagination, PriceHistory, Series } from "../contract/api";
import { toNumber } from "../lib/format";
import { parseMs } from "../stream/timestamp";

/**
 * What was: the one place that pages ask for the past. It stands on the histories that the server keeps (time series,
 * price changes, learning events); a feed that can be subscribed from a moment in the past would be put in here.
 */
export interface Point {
  atMs: number;
  min: number;
  max: number;
  last: number;
}

/** Points in order of time; a value stays what it was until the next. */
export type Curve = readonly Point[];

export interface PriceChange {
  id: number;
  inventoryKey: string;
  /** Null where the record does not say it. */
  currency: string | null;
  oldPrice: number | null;
  newPrice: number | null;
  percent: number | null;
  type: string;
  by: string;
  reason: string | null;
  atMs: number;
  /** So many changes came as one. */
  times: number;
}

type ChangesAnswer = { items: PriceHistory[]; pagination: Pick<Pagination, "has_next"> };

/** The last point at or before a moment; null when nothing is known of that time. */
export function pointAt(curve: Curve, atMs: number): Point | null {
  let low = 0;
  let high = curve.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (curve[middle]!.atMs <= atMs) low = middle + 1;
    else high = middle;
  }
  return curve[low - 1] ?? null;
}

/**
 * What a price was at a moment, from what it is now and the changes since: the first change after that moment names it.
 * Answers undefined when no change since is known, which means that it was what it is.
 */
export function priceAt(changes: readonly PriceChange[], atMs: number): number | null | undefined {
  let first: PriceChange | undefined;
  for (const change of changes) if (change.atMs > atMs && (!first || change.atMs < first.atMs)) first = change;
  return first?.oldPrice;
}

const STEPS = 240;
const CHANGES_PAGES = 5;
/** Answers are kept this long, for as many questions. */
const KEEP_MS = 60_000;
const KEEP = 500;
/** Questions that are under way at once. */
const WIDTH = 4;

/** A step that the store can answer from what it has rolled up, when the span is long. */
export function stepOf(spanMs: number): string {
  const wanted = Math.max(1_000, spanMs / STEPS);
  if (wanted >= 3_600_000) return `${Math.ceil(wanted / 3_600_000)}h`;
  if (wanted >= 60_000) return `${Math.ceil(wanted / 60_000)}m`;
  return `${Math.ceil(wanted / 1_000)}s`;
}

export class Past {
  #answers = new Map<string, { atMs: number; answer: Promise<unknown> }>();
  #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(
    private readonly ask: <T>(path: string) => Promise<T> = read,
    private readonly now: () => number = Date.now,
  ) {}

  /** One field of a measurement over a span of time. */
  async series(measurement: string, field: string, tags: Record<string, string>, fromMs: number, toMs: number): Promise<Curve> {
    const query = new URLSearchParams({ field, from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString(), step: stepOf(toMs - fromMs), ...tags });
    const answer = await this.#kept<Pick<Series, "points">>(`/api/v1/series/${measurement}?${query}`);
    return answer.points.flatMap((point) => {
      const atMs = parseMs(point.at);
      return atMs === null ? [] : [{ atMs, min: point.min, max: point.max, last: point.last }];
    });
  }

  stock(sku: string, fromMs: number, toMs: number): Promise<Curve> {
    return this.series("stock_level", "stock", { sku }, fromMs, toMs);
  }

  price(sku: string, currency: string, fromMs: number, toMs: number): Promise<Curve> {
    return this.series("price", "price", { sku, currency }, fromMs, toMs);
  }

  /** Every change of a price since a moment, the newest first. */
  async priceChanges(sinceMs: number): Promise<PriceChange[]> {
    const changes: PriceChange[] = [];
    // Of an earlier answer the latest changes would be missing.
    for (const path of this.#answers.keys()) if (path.startsWith("/api/v1/prices/history")) this.#answers.delete(path);
    for (let page = 1; page <= CHANGES_PAGES; page += 1) {
      const answer = await this.#kept<ChangesAnswer>(`/api/v1/prices/history?limit=1000&page=${page}`);
      for (const row of answer.items) {
        changes.push({
          id: row.id,
          inventoryKey: String(row.inventory_id),
          currency: null,
          oldPrice: toNumber(row.old_price),
          newPrice: toNumber(row.new_price),
          percent: toNumber(row.price_change_percent),
          type: row.change_type,
          by: row.changed_by ?? "",
          reason: row.change_reason ?? null,
          atMs: parseMs(row.changed_at) ?? 0,
          times: 1,
        });
      }
      if (!answer.pagination.has_next || (changes.at(-1)?.atMs ?? 0) < sinceMs) break;
    }
    return changes.filter((change) => change.atMs >= sinceMs);
  }

  /** Forgets what was asked, so that the next travel sees what has happened since. */
  forget(): void {
    this.#answers.clear();
  }

  async #kept<T>(path: string): Promise<T> {
    const now = this.now();
    const known = this.#answers.get(path);
    if (known && now - known.atMs < KEEP_MS) return known.answer as Promise<T>;
    const answer = this.#inTurn(() => this.ask<T>(path));
    this.#answers.set(path, { atMs: now, answer });
    answer.catch(() => this.#answers.delete(path));
    for (const key of this.#answers.keys()) {
      if (this.#answers.size <= KEEP) break;
      this.#answers.delete(key);
    }
    return answer;
  }

  /** A page of rows asks for a curve each; the server gets a few questions at a time. */
  async #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#busy >= WIDTH) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy += 1;
    try {
      return await ask();
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }
}

export const past = new Past();
