import type { Item } from "./items";
import { past, pointAt, type Curve, type Past, type Point } from "./past";

const KEEP = 600;
const LIVE_POINTS = 60;
/** So many values make a small curve. */
const SHOWN_POINTS = 40;

interface Trail {
  curve: Curve;
  /** What has been seen since the curve was fetched. */
  live: Point[];
}

/** The recent course of the stock of those items that are or were on the screen. */
export class Trails {
  version = $state(0);
  #trails = new Map<string, Trail>();
  #asked = new Set<string>();

  constructor(
    private readonly spanMs: number,
    private readonly source: Past = past,
  ) {}

  /** Fetches the courses of rows that have come into view, each once. */
  see(items: readonly Item[], nowMs: number): void {
    // Whole minutes, so that rows that come later ask the same question.
    const toMs = Math.ceil(nowMs / 60_000) * 60_000;
    for (const { key, sku } of items) {
      if (this.#asked.has(key)) continue;
      this.#asked.add(key);
      this.source
        .stock(sku, toMs - this.spanMs, toMs)
        .then((curve) => this.#put(key, { curve, live: [] }))
        .catch(() => this.#asked.delete(key));
    }
  }

  note(key: string, stock: number): void {
    const trail = this.#trails.get(key);
    if (!trail || trail.live.at(-1)?.last === stock) return;
    trail.live = [...trail.live.slice(1 - LIVE_POINTS), { atMs: Date.now(), min: stock, max: stock, last: stock }];
  }

  /** The stock at even distances of time up to now, for a small curve; before what is known it is as it is first known. */
  values(item: Item, nowMs: number): number[] {
    const trail = this.#trails.get(item.key);
    if (!trail) return [];
    const points = [...trail.curve, ...trail.live];
    const first = points[0]?.last ?? item.stock;
    const step = this.spanMs / (SHOWN_POINTS - 1);
    return Array.from({ length: SHOWN_POINTS }, (_, i) => (i === SHOWN_POINTS - 1 ? item.stock : (pointAt(points, nowMs - this.spanMs + i * step)?.last ?? first)));
  }

  /** The stock at a moment: null when that cannot be known. */
  at(item: Item, atMs: number): number | null {
    const trail = this.#trails.get(item.key);
    if (!trail) return null;
    const known = pointAt(trail.curve, atMs);
    if (known) return known.last;
    return trail.curve.length === 0 && trail.live.length === 0 ? item.stock : null;
  }

  isKnown(key: string): boolean {
    return this.#trails.has(key);
  }

  #put(key: string, trail: Trail): void {
    this.#trails.set(key, trail);
    this.version += 1;
    for (const oldest of this.#trails.keys()) {
      if (this.#trails.size <= KEEP) break;
      this.#trails.delete(oldest);
      this.#asked.delete(oldest);
    }
  }
}
