import { toNumber } from "../lib/format";
import { foldOf, isPriceUpdate, toldAtMs, type Message } from "../stream/messages";
import { Paced } from "../stream/paced";
import { past, priceAt, type Past, type PriceChange } from "./past";
import type { Price, PriceTable } from "./prices";

/** A message and the record of it name the same moment, or nearly. */
const SAME_MS = 1_000;
/** How far back the record is asked for, and how much of it is kept here. */
const REACH_MS = 7 * 86_400_000;
const LENGTH = 5_000;
/** A list that is another many times a second cannot be read. */
const SHOW_MS = 1_000;

const isSame = (a: PriceChange, b: PriceChange): boolean => a.inventoryKey === b.inventoryKey && a.newPrice === b.newPrice && Math.abs(a.atMs - b.atMs) < SAME_MS;

/** Changes of prices, the last ones first: what the record knows, and what has been told since. */
export class PriceLog {
  changes = $state.raw<readonly PriceChange[]>([]);
  /** The record has been read. */
  known = $state(false);
  /** It could not be read. */
  failed = $state(false);

  /** Before this, changes may be missing. */
  #reachesMs = Infinity;
  #fresh: PriceChange[] = [];
  #lastFake = 0;
  #byItem = $derived(Map.groupBy(this.changes, (change) => change.inventoryKey));
  #show = new Paced(SHOW_MS, () => this.#take());

  constructor(
    private readonly prices: PriceTable,
    private readonly source: Past = past,
  ) {}

  async load(): Promise<void> {
    const askedMs = Date.now() - SAME_MS;
    try {
      const known = await this.source.priceChanges(Date.now() - REACH_MS);
      this.#take();
      // What was heard meanwhile may be too new for the answer.
      this.changes = [...this.changes.filter((change) => change.id < 0 && change.atMs >= askedMs && !known.some((other) => isSame(other, change))), ...known];
      this.#reachesMs = Date.now() - REACH_MS;
      this.known = true;
      this.failed = false;
    } catch {
      this.failed = true;
    }
  }

  hear(messages: readonly Message[], nowMs: number): void {
    // What is caught up with may be in the record already.
    const fresh = messages
      .filter(isPriceUpdate)
      .map((message) => this.#change(message, nowMs))
      .filter((change) => change.atMs === nowMs || !this.changes.some((other) => isSame(other, change)));
    if (fresh.length === 0) return;
    this.#fresh.push(...fresh);
    if (this.#fresh.length > LENGTH) this.#fresh.splice(0, this.#fresh.length - LENGTH);
    this.#show.ask();
  }

  of(inventoryKey: string): readonly PriceChange[] {
    return this.#byItem.get(inventoryKey) ?? [];
  }

  /** The items that change most often. */
  busiest(): string[] {
    return [...this.#byItem].sort(([, a], [, b]) => b.length - a.length).map(([item]) => item);
  }

  /** Whether all changes since then are known. */
  reaches(atMs: number): boolean {
    return atMs >= this.#reachesMs && (this.changes.length < LENGTH || atMs >= this.changes.at(-1)!.atMs);
  }

  /** The price then; a change that is known since says what it was before. Null where nobody can say. */
  priceAt(row: Price, atMs: number): number | null {
    const of = this.of(row.inventoryKey);
    // The record does not say of which of an item's prices it is.
    if (of.some(({ currency }) => currency === null) && this.prices.currenciesOf(row.inventoryKey).length > 1) return null;
    const then = priceAt(of.filter(({ currency }) => currency === null || currency === row.currency), atMs);
    return then === undefined ? toNumber(row.price) : then;
  }

  #take(): void {
    if (this.#fresh.length === 0) return;
    this.changes = [...this.#fresh.reverse(), ...this.changes].slice(0, LENGTH);
    this.#fresh = [];
  }

  #change(message: Message, nowMs: number): PriceChange {
    const [key, currency, fold] = [String(message["inventory_id"]), String(message["currency"] ?? "JPY"), foldOf(message, "new_price")];
    const newPrice = toNumber(message["new_price"]);
    // Of several changes that came as one, it is the first that knows what the price was before.
    const shownPrice = fold && fold.count > 1 ? toNumber(this.prices.get(`${key} ${currency}`)?.price) : null;
    return {
      id: (this.#lastFake -= 1),
      inventoryKey: key,
      currency,
      oldPrice: shownPrice ?? toNumber(message["old_price"]),
      newPrice,
      percent: shownPrice && newPrice !== null ? (newPrice / shownPrice - 1) * 100 : toNumber(message["price_change_percent"]),
      type: String(message["action"]),
      by: "",
      reason: null,
      atMs: toldAtMs(message, nowMs),
      times: fold?.count ?? 1,
    };
  }
}
