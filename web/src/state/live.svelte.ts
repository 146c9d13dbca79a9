import { adjustStock, ApiError, changeItem, fetchInactive, fetchItem, fetchItems, fetchPrices, isUnauthorized, socketUrl, token, type ItemChange, type ItemRecord } from "../api";
import { t } from "../lib/i18n.svelte";
import { browserClock } from "../stream/clock";
import type { Socket } from "../stream/connection";
import { Feed, type FeedOptions, type Phase } from "../stream/feed";
import { Frames } from "../stream/frames";
import {
  isBatchProgress,
  isInventoryUpdate,
  isPriceUpdate,
  isStockAlert,
  messageType,
  type BatchProgress,
  type Id,
  type InventoryRow,
  type InventoryUpdate,
  type Message,
  type PriceAlert,
  type PriceRow,
  type PriceUpdate,
  type StockAlert,
} from "../stream/messages";
import { Paced } from "../stream/paced";
import { Rate } from "../stream/rate";
import { batch, learningEvent, matchNotice, mergeAlerts, notice, priceAlert, stockAlert, type Alert, type Batch, type LearningEvent, type MatchNotice, type Notice } from "./activity";
import { ItemTable } from "./items";
import { PriceTable } from "./prices";
import { session } from "./session.svelte";

export const FEEDS = ["inventory", "price", "progress", "match", "general"] as const;
export type FeedName = (typeof FEEDS)[number];

/** Feeds of rows change faster than anybody reads: each row is told so often at most, and what is folded is said. */
const MAX_HZ: Partial<Record<FeedName, string>> = { inventory: "4", price: "4" };

const PATHS: Record<FeedName, string> = {
  inventory: "/ws/inventory",
  price: "/ws/price",
  progress: "/ws/progress",
  match: "/ws/match",
  general: "/ws",
};

const LANE_LENGTH = 100;
/** A table sorted by a changing column is sorted again at most this often: rows that jump cannot be read. */
const RESORT_MS = 500;
/** Lanes take in what is new at most this often, for the same reason. */
const LANE_MS = 500;
/** Items that only messages know have their details fetched at most this often. */
const DETAILS_MS = 5_000;
/** A tick that comes this late means that the machine slept, and then no socket can be trusted. */
const SLEPT_MS = 20_000;
/** A page that nobody has seen for this long lets go of its feeds. They go on by position when it is seen again. */
const HIDDEN_MS = 5_000;
/** Above this many items details are asked for as rows come into view, not all at once. */
const MANY_ITEMS = 5_000;
/** Clicks on one item are gathered into one request. */
const GATHER_MS = 250;

interface Arrival {
  feed: FeedName;
  message: Message;
}

/** What the status bar tells of a feed, read once a second. */
export interface FeedState {
  received: number;
  recovered: number;
  gaps: number;
  lastAtMs: number | null;
  lastGapAtMs: number | null;
}

/** Hears the messages of a feed, a frame's at a time. */
export type Listener = (messages: Message[], nowMs: number) => void;

interface Adjustment {
  /** What is shown until the server has answered. */
  shown: number;
  unsent: number;
  inFlight: number;
  timer: ReturnType<typeof setTimeout> | null;
}

export interface Failure {
  key: number;
  text: string;
}

/** Everything the page shows, and the feeds that keep it true. */
export class Live {
  readonly items = new ItemTable();
  readonly prices = new PriceTable();

  phases = $state.raw<Record<FeedName, Phase>>(eachFeed(() => ({ name: "idle" })));
  /** Advances once a second: what relative times and countdowns are read from. */
  nowMs = $state(Date.now());
  perSecond = $state(0);
  curve = $state.raw<number[]>([]);
  feeds = $state.raw<Record<FeedName, FeedState>>(eachFeed(() => ({ received: 0, recovered: 0, gaps: 0, lastAtMs: null, lastGapAtMs: null })));

  itemsLoaded = $state(false);
  pricesLoaded = $state(false);
  /** Rises with every change of a row. */
  itemsVersion = $state(0);
  /** Rises when the order or the choice of rows may be another. */
  orderVersion = $state(0);
  pricesVersion = $state(0);
  priceOrderVersion = $state(0);

  alerts = $state.raw<Alert[]>([]);
  learning = $state.raw<LearningEvent[]>([]);
  batches = $state.raw<Batch[]>([]);
  matches = $state.raw<MatchNotice[]>([]);
  notice = $state.raw<Notice | null>(null);

  needsToken = $state(false);
  wantedVersion = $state(0);
  failures = $state.raw<Failure[]>([]);
  adjustments = $state.raw<ReadonlyMap<string, Adjustment>>(new Map());

  /** How many parts of the page want each feed. */
  #wanted: Record<FeedName, number> = eachFeed(() => 0);
  #listeners: Record<FeedName, Set<Listener>> = eachFeed(() => new Set<Listener>());
  #following = false;
  #rests = false;
  #hiddenTimer: ReturnType<typeof setTimeout> | null = null;
  #described = new Set<string>();

  #frames = new Frames<Arrival>((arrivals) => this.#apply(arrivals));
  #rate = new Rate();
  #feeds: Record<FeedName, Feed>;
  #resort = new Paced(RESORT_MS, () => (this.orderVersion += 1));
  #resortPrices = new Paced(RESORT_MS, () => (this.priceOrderVersion += 1));
  #lanes = new Paced(LANE_MS, () => this.#showLanes());
  #newAlerts: Alert[] = [];
  #newLearning: LearningEvent[] = [];
  #newMatches: MatchNotice[] = [];
  #newBatches: Batch[] = [];
  #detailsAtMs = 0;
  #probing = false;
  #wasHidden = false;
  #wantsItems = false;
  #wantsPrices = false;
  #lastFailure = 0;

  constructor() {
    this.#feeds = {
      inventory: this.#feed("inventory", (rows) => {
        this.items.replace(rows as unknown as InventoryRow[], Date.now());
        this.itemsLoaded = true;
        this.#touchItems(true);
        this.#wantsItems = true;
        void this.#describe();
      }),
      price: this.#feed("price", (rows) => {
        this.prices.replace(rows as unknown as PriceRow[]);
        this.pricesLoaded = true;
        this.#touchPrices(true);
        this.#wantsPrices = true;
        void this.#describe();
      }),
      progress: this.#feed("progress"),
      match: this.#feed("match"),
      general: this.#feed("general"),
    };
  }

  /** Starts what is wanted; the answer ends everything. */
  start(): () => void {
    token.takeFromAddress();
    this.#following = true;
    void session.load().then(() => this.#follow());
    this.#follow();
    let ticker: ReturnType<typeof setInterval> | null = setInterval(() => this.#tick(), 1_000);
    const end = new AbortController();
    const on = (type: string, act: () => void): void => window.addEventListener(type, act, { signal: end.signal });
    on("offline", () => FEEDS.forEach((name) => this.#feeds[name].networkLost()));
    on("online", () => FEEDS.forEach((name) => this.#feeds[name].networkBack()));
    on("hashchange", () => {
      if (token.takeFromAddress()) this.#restart();
    });
    const seen = (): void => {
      if (this.#hiddenTimer) clearTimeout(this.#hiddenTimer);
      this.#hiddenTimer = null;
      if (document.hidden) {
        this.#hiddenTimer = setTimeout(() => {
          this.#rests = true;
          if (ticker) clearInterval(ticker);
          ticker = null;
          this.#follow();
        }, HIDDEN_MS);
        return;
      }
      if (!this.#rests) return;
      this.#rests = false;
      // The pause was meant, and is no sleep.
      this.nowMs = Date.now();
      this.#wasHidden = true;
      ticker ??= setInterval(() => this.#tick(), 1_000);
      this.#follow();
    };
    document.addEventListener("visibilitychange", seen, { signal: end.signal });
    return () => {
      if (ticker) clearInterval(ticker);
      if (this.#hiddenTimer) clearTimeout(this.#hiddenTimer);
      end.abort();
      this.#following = false;
      for (const name of FEEDS) this.#feeds[name].stop();
    };
  }

  /** Wants feeds for as long as a part of the page is shown; the answer lets go of them. */
  watch(...names: FeedName[]): () => void {
    for (const name of names) this.#wanted[name] += 1;
    this.#followSoon();
    return () => {
      for (const name of names) this.#wanted[name] -= 1;
      this.#followSoon();
    };
  }

  /** Hears a feed's messages as they are, in their order; the answer ends it. */
  hear(name: FeedName, listener: Listener): () => void {
    this.#listeners[name].add(listener);
    return () => this.#listeners[name].delete(listener);
  }

  isWanted(name: FeedName): boolean {
    void this.wantedVersion;
    return this.#wanted[name] > 0;
  }

  /** Pages change in one step: what the one lets go of, the next may want. */
  #followSoon(): void {
    queueMicrotask(() => {
      this.wantedVersion += 1;
      this.#follow();
    });
  }

  #follow(): void {
    if (!this.#following) return;
    for (const name of FEEDS) {
      const feed = this.#feeds[name];
      if (this.#wanted[name] > 0 && !this.#rests && !this.needsToken) feed.start();
      else if (feed.phase.name !== "idle") feed.stop();
    }
  }

  useToken(value: string): void {
    token.set(value);
    this.#restart();
  }

  /** After a log-in or a log-out everything is asked for anew, by another person. */
  async useLogIn(name: string, password: string): Promise<void> {
    await session.logIn(name, password);
    this.#restart();
  }

  async logOut(): Promise<void> {
    await session.logOut();
    for (const name of FEEDS) this.#feeds[name].stop();
    this.needsToken = true;
  }

  retry(name: FeedName): void {
    this.#feeds[name].retryNow();
  }

  dismiss(key: number): void {
    this.failures = this.failures.filter((failure) => failure.key !== key);
  }

  dismissNotice(): void {
    this.notice = null;
  }

  /** The stock to show: what the server said, or what it will say once it has answered. */
  stockOf(key: string): number {
    return this.adjustments.get(key)?.shown ?? this.items.get(key)?.stock ?? 0;
  }

  adjust(key: string, delta: number): void {
    const item = this.items.get(key);
    if (!item) return;
    const shown = this.stockOf(key) + delta;
    if (shown < 0) return;
    const before = this.adjustments.get(key);
    if (before?.timer) clearTimeout(before.timer);
    const timer = setTimeout(() => void this.#send(key, item.id, item.sku), GATHER_MS);
    this.#setAdjustment(key, { shown, unsent: (before?.unsent ?? 0) + delta, inFlight: before?.inFlight ?? 0, timer });
  }

  /** Changes fields of an item; shows the new stock at once, and takes it back when the server refuses. */
  async change(key: string, change: ItemChange): Promise<ItemRecord> {
    const item = this.items.get(key);
    if (!item) throw new Error(t("gone"));
    const optimistic = change.stock_quantity;
    if (optimistic !== undefined) this.#setAdjustment(key, { shown: optimistic, unsent: 0, inFlight: 1, timer: null });
    try {
      const record = await this.#guard(changeItem(item.id, change));
      this.items.put(record, Date.now());
      this.#touchItems(change.name !== undefined || change.category !== undefined);
      return record;
    } finally {
      if (optimistic !== undefined) this.#setAdjustment(key, null);
    }
  }

  /** Rows that came into view: those of a large shop are described one by one. */
  seen(keys: readonly string[]): void {
    if (this.items.size <= MANY_ITEMS) return;
    const asked = keys.filter((key) => this.items.get(key)?.partial && !this.#described.has(key)).slice(0, 60);
    for (const key of asked) this.#described.add(key);
    if (asked.length > 0) void this.#describeEach(asked);
  }

  async #describeEach(keys: string[]): Promise<void> {
    for (let from = 0; from < keys.length; from += 6) {
      const part = keys.slice(from, from + 6).flatMap((key) => this.items.get(key) ?? []);
      const records = await Promise.allSettled(part.map((item) => fetchItem(item.id)));
      const known = records.flatMap((record) => (record.status === "fulfilled" ? [record.value] : []));
      if (this.items.describe(known)) this.#touchItems(false);
    }
  }

  fail(text: string): void {
    this.#fail(text);
  }

  async #send(key: string, id: Id, sku: string): Promise<void> {
    const adjustment = this.adjustments.get(key);
    if (!adjustment) return;
    const delta = adjustment.unsent;
    if (delta === 0) {
      this.#settle(key, { ...adjustment, timer: null });
      return;
    }
    this.#setAdjustment(key, { ...adjustment, unsent: 0, inFlight: adjustment.inFlight + 1, timer: null });
    let undo = 0;
    try {
      const record = await this.#guard(adjustStock(id, delta));
      this.items.put(record, Date.now());
      this.#touchItems(false);
    } catch (error) {
      undo = delta;
      this.#fail(t("adjustFailed", { sku, why: error instanceof ApiError ? error.message : t("networkError") }));
    }
    const after = this.adjustments.get(key);
    if (after) this.#settle(key, { ...after, inFlight: after.inFlight - 1, shown: after.shown - undo });
  }

  /** Once nothing is under way the row itself is shown again. */
  #settle(key: string, adjustment: Adjustment): void {
    this.#setAdjustment(key, adjustment.inFlight === 0 && adjustment.unsent === 0 && !adjustment.timer ? null : adjustment);
  }

  #setAdjustment(key: string, adjustment: Adjustment | null): void {
    const next = new Map(this.adjustments);
    if (adjustment) next.set(key, adjustment);
    else next.delete(key);
    this.adjustments = next;
  }

  #fail(text: string): void {
    const key = (this.#lastFailure += 1);
    this.failures = [...this.failures.slice(-2), { key, text }];
    setTimeout(() => this.dismiss(key), 10_000);
  }

  #feed(name: FeedName, onRows?: NonNullable<FeedOptions["onRows"]>): Feed {
    return new Feed({
      url: (beginning) => socketUrl(PATHS[name], { ...beginning, ...(MAX_HZ[name] && { max_hz: MAX_HZ[name] }) }),
      open: (url) => new WebSocket(url) as unknown as Socket,
      clock: browserClock,
      onMessage: (message) => this.#frames.push({ feed: name, message }),
      onPhase: (phase) => this.#phaseChanged(name, phase),
      ...(onRows && {
        onRows: (rows) => {
          // What arrived before the rows must not be applied over them.
          this.#frames.flush();
          onRows(rows);
        },
      }),
    });
  }

  /** Fetches what the rows do not carry. What cannot be had now is asked for again later. */
  async #describe(): Promise<void> {
    this.#detailsAtMs = Date.now();
    const [items, prices] = [this.#wantsItems, this.#wantsPrices];
    this.#wantsItems = this.#wantsPrices = false;
    try {
      const all = this.items.size > MANY_ITEMS ? fetchInactive : fetchItems;
      if (items && this.items.describe(await this.#guard(all()))) this.#touchItems(false);
    } catch {
      this.#wantsItems = true;
    }
    try {
      if (prices && this.prices.describe(await this.#guard(fetchPrices()))) this.#touchPrices(false);
    } catch {
      this.#wantsPrices = true;
    }
  }

  #phaseChanged(name: FeedName, phase: Phase): void {
    this.phases = { ...this.phases, [name]: phase };
    if (phase.name === "waiting" && !phase.closed.opened) void this.#probe();
  }

  async #probe(): Promise<void> {
    if (this.#probing || this.needsToken) return;
    this.#probing = true;
    if (await isUnauthorized()) this.#askForToken();
    this.#probing = false;
  }

  async #guard<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.#askForToken();
      throw error;
    }
  }

  #askForToken(): void {
    if (this.needsToken) return;
    this.needsToken = true;
    for (const name of FEEDS) this.#feeds[name].stop();
  }

  #restart(): void {
    this.needsToken = false;
    void session.load();
    for (const name of FEEDS) this.#feeds[name].stop();
    this.#follow();
  }

  #tick(): void {
    const now = Date.now();
    // The browser slows the ticks of a hidden page by itself, which is no sleep.
    const slept = now - this.nowMs > SLEPT_MS && !this.#wasHidden;
    this.#wasHidden = document.hidden;
    this.nowMs = now;
    if (slept) for (const name of FEEDS) this.#feeds[name].reconnect();
    this.perSecond = this.#rate.perSecond(now);
    this.curve = this.#rate.series(now);
    this.feeds = eachFeed((name) => {
      const { counts, lastMessageAtMs, lastGapAtMs } = this.#feeds[name];
      return { ...counts, lastAtMs: lastMessageAtMs, lastGapAtMs };
    });
    if ((this.#wantsItems || this.#wantsPrices) && !this.needsToken && now - this.#detailsAtMs >= DETAILS_MS) void this.#describe();
  }

  #touchItems(order: boolean): void {
    this.itemsVersion += 1;
    if (order) this.orderVersion += 1;
    else this.#resort.ask();
  }

  #touchPrices(order: boolean): void {
    this.pricesVersion += 1;
    if (order) this.priceOrderVersion += 1;
    else this.#resortPrices.ask();
  }

  #showLanes(): void {
    if (this.#newAlerts.length > 0) this.alerts = mergeAlerts(this.#newAlerts, this.alerts, LANE_LENGTH);
    if (this.#newLearning.length > 0) this.learning = latest(this.#newLearning, this.learning);
    if (this.#newMatches.length > 0) this.matches = latest(this.#newMatches, this.matches);
    if (this.#newBatches.length > 0) this.batches = mergeBatches(this.batches, this.#newBatches);
    this.#newAlerts = [];
    this.#newLearning = [];
    this.#newMatches = [];
    this.#newBatches = [];
  }

  /** One frame's messages. Each part of the page is touched at most once. */
  #apply(arrivals: Arrival[]): void {
    const now = Date.now();
    this.#rate.add(now, arrivals.length);
    for (const name of FEEDS) {
      if (this.#listeners[name].size === 0) continue;
      const messages = arrivals.flatMap(({ feed, message }) => (feed === name ? [message] : []));
      if (messages.length > 0) for (const listener of this.#listeners[name]) listener(messages, now);
    }
    let itemsMoved = false;
    let itemsChanged = false;
    let pricesChanged = false;
    for (const { feed, message } of arrivals) {
      switch (feed) {
        case "inventory":
          if (isInventoryUpdate(message)) {
            const effect = this.items.apply(message as unknown as InventoryUpdate, now);
            itemsChanged ||= effect !== "none";
            itemsMoved ||= effect === "membership";
            if (effect === "membership" && message["action"] !== "deleted") this.#wantsItems = true;
          } else if (isStockAlert(message)) this.#newAlerts.push(stockAlert(message as unknown as StockAlert, now));
          break;
        case "price":
          if (isPriceUpdate(message)) {
            const size = this.prices.size;
            pricesChanged = this.prices.apply(message as unknown as PriceUpdate, now) || pricesChanged;
            if (this.prices.size > size) this.#wantsPrices = true;
          } else if (messageType(message) === "price_alert") this.#newAlerts.push(priceAlert(message as unknown as PriceAlert, now));
          break;
        case "progress":
          this.#newLearning.push(learningEvent(message, now));
          break;
        case "match":
          if (isBatchProgress(message)) this.#newBatches.push(batch(message as unknown as BatchProgress, now));
          else if (messageType(message) === "match_notification") this.#newMatches.push(matchNotice(message, now));
          break;
        case "general":
          this.notice = notice(message, now) ?? this.notice;
          break;
      }
    }
    if (itemsChanged) this.#touchItems(itemsMoved);
    if (pricesChanged) this.#touchPrices(false);
    if (this.#newAlerts.length + this.#newLearning.length + this.#newMatches.length + this.#newBatches.length > 0) this.#lanes.ask();
  }
}

function eachFeed<T>(value: (name: FeedName) => T): Record<FeedName, T> {
  return Object.fromEntries(FEEDS.map((name) => [name, value(name)])) as Record<FeedName, T>;
}

function latest<T>(fresh: T[], known: T[]): T[] {
  return [...fresh.reverse(), ...known].slice(0, LANE_LENGTH);
}

/** Batches keep the places in which they were first seen; the oldest make room. */
function mergeBatches(known: Batch[], fresh: Batch[]): Batch[] {
  const byKey = new Map(known.map((entry) => [entry.key, entry]));
  for (const entry of fresh) byKey.set(entry.key, entry);
  return [...byKey.values()].slice(-4);
}
