import type { Item } from "./items";
import { past, pointAt, stepMsOf, type Curve, type Past, type Point } from "./past";

const KEEP = 600;
const LIVE_POINTS = 60;
/** So many values make a small curve. */
const SHOWN_POINTS = 40;
/** A course has steps of some seconds to some minutes; around the shown moment so much is looked at in detail. */
const NEAR_MS = 10 * 60_000;

interface Trail {
  curve: Curve;
  /** What has been seen since the curve was fetched. */
  live: Point[];
  /** Stretches of whole steps in detail, by their beginnings; null while they are asked for. */
  near: Map<number, Curve | null>;
  /** What it was before the curve begins: undefined while nobody has asked, null when nobody knows. */
  before: number | null | undefined;
}

/** The recent course of the stock of those items that are or were on the screen. */
export class Trails {
  version = $state(0);
  /** Some course could not be read, and is to be asked for again. */
  failed = $state(false);
  #trails = new Map<string, Trail>();
  #asked = new Set<string>();
  /** How long a stretch is. */
  readonly #nearMs: number;

  constructor(
    private readonly spanMs: number,
    private readonly source: Past = past,
  ) {
    const stepMs = stepMsOf(spanMs);
    this.#nearMs = Math.ceil(NEAR_MS / stepMs) * stepMs;
  }

  /** Where the stretch of a moment begins. Steps begin at multiples of their length since 1970, and so do stretches. */
  stretch(atMs: number): number {
    return atMs - (atMs % this.#nearMs);
  }

  /** Fetches the courses of rows that have come into view, each once. */
  see(items: readonly Item[], nowMs: number): void {
    this.failed = false;
    // Whole minutes, so that rows that come later ask the same question.
    const toMs = Math.ceil(nowMs / 60_000) * 60_000;
    for (const { key, sku } of items) {
      if (this.#asked.has(key)) continue;
      this.#asked.add(key);
      this.source
        .stock(sku, toMs - this.spanMs, toMs)
        .then((curve) => this.#put(key, { curve, live: [], near: new Map(), before: undefined }))
        .catch(() => (this.#asked.delete(key), (this.failed = true)));
    }
  }

  /** Fetches what makes the stock of a moment exact: the course around it, where it changed, and what was before it all. */
  look(items: readonly Item[], atMs: number): void {
    const begin = this.stretch(atMs);
    for (const { key, sku } of items) {
      const trail = this.#trails.get(key);
      const first = trail?.curve[0];
      if (!trail || !first) continue;
      if (!trail.near.has(begin) && trail.curve.some((point) => point.atMs >= begin && point.atMs < begin + this.#nearMs)) {
        trail.near.set(begin, null);
        this.source.stockInDetail(sku, begin, begin + this.#nearMs).then(
          (curve) => (trail.near.set(begin, curve), (this.version += 1)),
          () => (trail.near.delete(begin), (this.failed = true)),
        );
      }
      if (trail.before === undefined) {
        trail.before = null;
        this.source.stockBefore(sku, first.atMs).then(
          (stock) => ((trail.before = stock), (this.version += 1)),
          () => ((trail.before = undefined), (this.failed = true)),
        );
      }
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
    const begin = this.stretch(atMs);
    const near = trail.near.get(begin);
    // A step of the course tells how it ended, so of the stretch itself only the details are true.
    const known = near?.length ? (pointAt(near, atMs) ?? pointAt(trail.curve, begin - 1)) : pointAt(trail.curve, atMs);
    if (known) return known.last;
    return trail.curve.length === 0 && trail.live.length === 0 ? item.stock : (trail.before ?? null);
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
