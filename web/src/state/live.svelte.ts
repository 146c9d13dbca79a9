import { ApiError, isUnauthorized, socketUrl, token, type ItemRecord } from "../api";
import { browserClock } from "../stream/clock";
import type { Socket } from "../stream/connection";
import { isLogIn } from "../stream/codes";
import { Feed, type FeedOptions, type Phase } from "../stream/feed";
import { Frames } from "../stream/frames";
import { isInventoryUpdate, isPriceUpdate, toldAtMs, type InventoryRow, type InventoryUpdate, type Message, type PriceRow, type PriceUpdate } from "../stream/messages";
import { Paced } from "../stream/paced";
import { Rate } from "../stream/rate";
import { BEATS_MS, Beats } from "./beats.svelte";
import { Details } from "./details";
import { Edits } from "./edits.svelte";
import { eachFeed, FEEDS, MAX_HZ, PATHS, type FeedName, type FeedState } from "./feeds";
import { Import } from "./import.svelte";
import { ItemTable } from "./items";
import { Levels } from "./levels.svelte";
import type { Lanes } from "./lanes.svelte";
import { Narrow } from "./narrow";
import { PriceTable } from "./prices";
import { Presence } from "./presence";
import { session } from "./session.svelte";
import { Told } from "./told.svelte";
import { travel } from "./travel.svelte";

export { FEEDS, type FeedName, type FeedState } from "./feeds";

/** A table sorted by a changing column is sorted again at most this often: rows that jump cannot be read. */
const RESORT_MS = 1_000;
/** Of more rows than this an order is dear to find. */
const LARGE = 2_000;
const LEVELS = ["out", "low"] as const;
const CALM_PER_S = 30;

interface Arrival {
  feed: FeedName;
  message: Message;
}

/** Hears the messages of a feed, a frame's at a time. */
export type Listener = (messages: Message[], nowMs: number) => void;

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
  /** So little comes that what is new may flash: where everything changes a tint tells nothing, and costs a layer each. */
  readonly isCalm = $derived(this.perSecond < CALM_PER_S);
  curve = $state.raw<number[]>([]);
  feeds = $state.raw<Record<FeedName, FeedState>>(eachFeed(() => ({ received: 0, recovered: 0, gaps: 0, lastAtMs: null, lastGapAtMs: null })));

  itemsLoaded = $state(false);
  pricesLoaded = $state(false);
  /** Rises with every change of a row. */
  itemsVersion = $state(0);
  /** Rises when the order or the choice of rows may be another. */
  orderVersion = $state(0);
  /** Rises when other rows, or more of them, may be low or out. */
  levelVersions = $state({ out: 0, low: 0 });
  pricesVersion = $state(0);
  priceOrderVersion = $state(0);

  readonly beats = new Beats();
  readonly #told = new Told();
  readonly lanes = this.#told.now;
  readonly edits = new Edits({
    item: (key) => this.items.get(key),
    guard: (answer) => this.#guard(answer),
    put: (record, order) => this.#put(record, order),
    fail: (text) => this.fail(text),
  });

  /** Outlives the page that it was begun on. */
  readonly import = new Import();

  /** What is low and out, of all items. */
  readonly levels = new Levels({
    items: this.items,
    put: (records) => {
      for (const record of records) this.items.put(record, Date.now());
      this.#touchItems(false, true);
    },
    alert: ({ sku, id, available_quantity, min_stock_level }) => {
      if (this.#narrow.held?.has(String(id))) return;
      const alert = { message_type: "stock_alert", alert_level: available_quantity <= 0 ? "out" : "low", item_id: id, sku, current_stock: available_quantity, min_level: min_stock_level };
      this.lanes.take("inventory", alert, Date.now(), false);
    },
    renew: () => this.#feeds.inventory.renew(),
  });

  needsToken = $state(false);
  wantedVersion = $state(0);
  failures = $state.raw<Failure[]>([]);

  /** How many parts of the page want each feed. */
  #wanted: Record<FeedName, number> = eachFeed(() => 0);
  #listeners: Record<FeedName, Set<Listener>> = eachFeed(() => new Set<Listener>());
  #following = false;
  #rests = false;
  #details = new Details({
    items: this.items,
    prices: this.prices,
    guard: (answer) => this.#guard(answer),
    itemsChanged: () => this.#touchItems(false, true),
    pricesChanged: () => this.#touchPrices(false),
  });
  #narrow = new Narrow({
    items: this.items,
    feed: () => this.#feeds.inventory,
    refresh: (keys) => void this.#details.refresh(keys, (records) => {
      for (const record of records) this.items.put(record, Date.now());
      return records.length > 0;
    }),
  });
  /** The rows that are on the screen. Changes of others are taken in without a render. */
  #onScreen: ReadonlySet<string> = new Set();

  #frames = new Frames<Arrival>((arrivals) => this.#apply(arrivals));
  #rate = new Rate();
  #feeds: Record<FeedName, Feed>;
  #resort = new Paced(RESORT_MS, () => (this.orderVersion += 1), browserClock, BEATS_MS.table);
  #resortPrices = new Paced(RESORT_MS, () => (this.priceOrderVersion += 1), browserClock, BEATS_MS.table);
  #relevel = LEVELS.map((of) => new Paced(RESORT_MS, () => (this.levelVersions[of] += 1), browserClock, BEATS_MS[of]));
  #probing = false;
  #presence = new Presence({
    tick: (nowMs) => this.#tick(nowMs),
    slept: () => FEEDS.forEach((name) => this.#feeds[name].reconnect()),
    rests: (rests) => {
      this.#rests = rests;
      this.nowMs = Date.now();
      this.beats.catchUp();
      this.#follow();
    },
    network: (isThere) => FEEDS.forEach((name) => (isThere ? this.#feeds[name].networkBack() : this.#feeds[name].networkLost())),
    addressChanged: () => {
      if (token.takeFromAddress()) this.#restart();
    },
  });
  #lastFailure = 0;

  constructor() {
    this.#feeds = {
      inventory: this.#feed("inventory", (rows) => {
        const { held } = this.#narrow;
        if (held) this.items.merge(rows as unknown as InventoryRow[], held, Date.now());
        else this.items.replace(rows as unknown as InventoryRow[], Date.now());
        this.itemsLoaded = true;
        this.#touchItems(true, true);
        this.#details.wantsItems = true;
        void this.#details.fetch();
      }),
      price: this.#feed("price", (rows) => {
        this.prices.replace(rows as unknown as PriceRow[]);
        this.pricesLoaded = true;
        this.#touchPrices(true);
        this.#details.wantsPrices = true;
        void this.#details.fetch();
      }),
      progress: this.#feed("progress"),
      match: this.#feed("match"),
      general: this.#feed("general"),
    };
  }

  /** What is said at the shown moment: now, or then. */
  get told(): Lanes {
    return this.#told.shown;
  }

  /** The moment that is shown, by the clock of the lanes. */
  get shownMs(): number {
    return travel.atMs ?? this.beats.lanes;
  }

  /** Starts what is wanted; the answer ends everything. */
  start(): () => void {
    token.takeFromAddress();
    const unshare = token.share();
    this.#following = true;
    void session.load().then(() => this.#follow());
    this.#follow();
    const ends = [this.#presence.start(), this.#told.follow((name) => this.isWanted(name), () => this.needsToken)];
    return () => {
      for (const end of [...ends, unshare]) end();
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
    this.#levels();
  }

  useToken(value: string): void {
    token.set(value);
    this.#restart();
  }

  /** After a log-in or a log-out everything is asked for anew, by another person. */
  async useLogIn(name: string, password: string): Promise<void> {
    const before = session.me?.subject;
    await session.logIn(name, password);
    // Who logs in again goes on with what was typed; another does not.
    if (session.me?.subject !== before) this.edits.forget();
    this.#restart();
  }

  async logOut(): Promise<void> {
    await session.logOut();
    this.edits.forget();
    for (const name of FEEDS) this.#feeds[name].stop();
    this.needsToken = true;
  }

  retry(name: FeedName): void {
    this.#feeds[name].retryNow();
  }

  dismiss(key: number): void {
    this.failures = this.failures.filter((failure) => failure.key !== key);
  }

  /** Rows that came into view. */
  show(keys: readonly string[]): void {
    this.#onScreen = new Set(keys);
  }

  /** Rows that stay in view: what the feed does not carry of them is asked for. */
  seen(keys: readonly string[]): void {
    this.#details.seen(keys);
  }

  /** The rows that are subscribed to: those seen and some around them, or all (null). */
  subscribe(seen: readonly string[], around: readonly string[] | null): void {
    this.#narrow.want(seen, around);
    this.#levels();
  }

  #levels(): void {
    this.levels.follow(this.#following && !this.needsToken && this.#wanted.inventory > 0 && this.#narrow.held !== null);
  }

  /** Says something that went wrong, for a while. */
  fail(text: string): void {
    const key = (this.#lastFailure += 1);
    this.failures = [...this.failures.slice(-2), { key, text }];
    setTimeout(() => this.dismiss(key), 10_000);
  }

  #put(record: ItemRecord, order: boolean): void {
    this.items.put(record, Date.now());
    this.#touchItems(order, true);
  }

  #feed(name: FeedName, onRows?: NonNullable<FeedOptions["onRows"]>): Feed {
    return new Feed({
      url: (beginning) => socketUrl(PATHS[name], { ...beginning, ...(name === "inventory" && this.#narrow.query(beginning)), ...(MAX_HZ[name] && { max_hz: MAX_HZ[name] }) }),
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

  #phaseChanged(name: FeedName, phase: Phase): void {
    this.phases = { ...this.phases, [name]: phase };
    if (name === "inventory" && phase.name === "live") this.#narrow.settle();
    this.#levels();
    if ((phase.name === "waiting" && !phase.closed.opened) || (phase.name === "refused" && isLogIn(phase.closed.code))) void this.#probe();
  }

  async #probe(): Promise<void> {
    if (this.#probing || this.needsToken) return;
    this.#probing = true;
    const before = token.value;
    if (await isUnauthorized()) this.#askForToken();
    // The question itself may have renewed the log-in.
    else if (token.value !== before) this.#follow();
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

  #tick(now: number): void {
    this.nowMs = now;
    this.beats.begin();
    this.perSecond = this.#rate.perSecond(now);
    this.curve = this.#rate.series(now);
    this.feeds = eachFeed((name) => {
      const { counts, lastMessageAtMs, lastGapAtMs } = this.#feeds[name];
      return { ...counts, lastAtMs: lastMessageAtMs, lastGapAtMs };
    });
    if (!this.needsToken && this.#details.isDue(now)) void this.#details.fetch();
  }

  #touchItems(order: boolean, shown: boolean): void {
    if (shown) this.itemsVersion += 1;
    if (order) this.edits.rowsChanged();
    // Rows that come and go one by one are in their places at once, a flood of them now and then.
    if (order && this.items.size < LARGE) this.orderVersion += 1;
    else this.#resort.ask();
    for (const [index, of] of LEVELS.entries()) {
      if (this.items.size >= LARGE) this.#relevel[index]!.later();
      else if (order) this.levelVersions[of] += 1;
      else this.#relevel[index]!.ask();
    }
  }

  #touchPrices(order: boolean): void {
    this.pricesVersion += 1;
    if (order) this.priceOrderVersion += 1;
    else this.#resortPrices.ask();
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
    let [itemsMoved, itemsChanged, itemsShown, pricesChanged] = [false, false, false, false];
    for (const { feed, message } of arrivals) {
      if (feed === "inventory" && isInventoryUpdate(message)) {
        const effect = this.items.apply(message as unknown as InventoryUpdate, now);
        if (effect === "none") continue;
        itemsChanged = true;
        itemsMoved ||= effect === "membership";
        itemsShown ||= effect === "membership" || this.#onScreen.has(String(message["item_id"]));
        if (effect === "membership" && message["action"] !== "deleted") this.#details.wantsItems = true;
      } else if (feed === "price" && isPriceUpdate(message)) {
        const size = this.prices.size;
        pricesChanged = this.prices.apply(message as unknown as PriceUpdate, now) || pricesChanged;
        if (this.prices.size > size) this.#details.wantsPrices = true;
      } else this.lanes.take(feed, message, toldAtMs(message, now));
    }
    if (itemsChanged) this.#touchItems(itemsMoved, itemsShown);
    if (pricesChanged) this.#touchPrices(false);
  }
}
