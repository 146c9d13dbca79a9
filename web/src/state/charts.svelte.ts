import { toNumber } from "../lib/format";
import { foldOf, isPriceUpdate, toldAtMs, type Message } from "../stream/messages";
import { Paced } from "../stream/paced";
import { past, type Past } from "./past";
import type { PriceTable } from "./prices";
import type { ChartLine, ChartPoint, Span } from "../ui/Chart.svelte";

export const MOST_LINES = 6;
const DRAW_MS = 250;
/** Live points of one line; older ones are in the history anyway. */
const LIVE_POINTS = 2_000;

export interface Chosen {
  key: string;
  sku: string;
  currency: string;
  color: number;
}

/** The prices that were chosen to be drawn: their history, and what comes live behind it. */
export class PriceCharts {
  chosen = $state.raw<Chosen[]>([]);
  version = $state(0);
  loading = $state(0);
  failed = $state(false);

  #history = new Map<string, ChartPoint[]>();
  #live = new Map<string, ChartPoint[]>();
  #draw = new Paced(DRAW_MS, () => (this.version += 1));
  #span: Span | null = null;

  constructor(
    private readonly prices: PriceTable,
    private readonly source: Past = past,
  ) {}

  has(key: string): boolean {
    return this.chosen.some((line) => line.key === key);
  }

  toggle(key: string): void {
    if (this.has(key)) {
      this.chosen = this.chosen.filter((line) => line.key !== key);
      return;
    }
    const row = this.prices.get(key);
    if (!row || this.chosen.length >= MOST_LINES) return;
    const color = Array.from({ length: MOST_LINES }, (_, index) => index).find((index) => !this.chosen.some((line) => line.color === index)) ?? 0;
    this.chosen = [...this.chosen, { key, sku: row.sku, currency: row.currency, color }];
    this.#live.set(key, []);
    if (this.#span) void this.#load(this.chosen.at(-1)!, this.#span);
  }

  /** Loads the history of all lines over a span; what came live stays behind it. */
  load(span: Span): void {
    this.#span = span;
    this.failed = false;
    for (const line of this.chosen) void this.#load(line, span);
  }

  /** Loads what was missed. */
  reload(): void {
    if (this.#span) this.load({ ...this.#span, toMs: Math.max(this.#span.toMs, Date.now()) });
  }

  async #load(line: Chosen, span: Span): Promise<void> {
    this.loading += 1;
    try {
      const curve = await this.source.price(line.sku, line.currency, span.fromMs, span.toMs);
      const points: ChartPoint[] = [...curve];
      const now = toNumber(this.prices.get(line.key)?.price);
      // Nothing was written in the span: the price was what it is.
      if (points.length === 0 && now !== null) points.push({ atMs: span.fromMs, min: now, max: now, last: now });
      this.#history.set(line.key, points);
      this.version += 1;
    } catch {
      this.failed = true;
    } finally {
      this.loading -= 1;
    }
  }

  hear(messages: Message[], nowMs: number): void {
    let drawn = false;
    for (const message of messages) {
      if (!isPriceUpdate(message)) continue;
      const key = `${String(message["inventory_id"])} ${String(message["currency"] ?? "JPY")}`;
      const live = this.#live.get(key);
      const last = toNumber(message["new_price"]);
      if (!live || last === null) continue;
      const fold = foldOf(message, "new_price");
      live.push({ atMs: toldAtMs(message, nowMs), last, min: fold?.min ?? last, max: fold?.max ?? last });
      if (live.length > LIVE_POINTS) live.shift();
      drawn = true;
    }
    if (drawn) this.#draw.ask();
  }

  lines(): ChartLine[] {
    return this.chosen.map(({ key, sku, color }) => {
      const history = this.#history.get(key) ?? [];
      const end = history.at(-1)?.atMs ?? -Infinity;
      const live = (this.#live.get(key) ?? []).filter((point) => point.atMs > end);
      return { key, label: sku, color, points: [...history, ...live], stairs: true };
    });
  }
}
