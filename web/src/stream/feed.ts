import { Backoff } from "./backoff";
import type { Clock } from "./clock";
import { closeMeaning, detailOf } from "./codes";
import { Connection, type Closed, type Socket } from "./connection";
import { messageType, positionOf, stands, type Message } from "./messages";
import { Positions } from "./positions";

export type Phase =
  /** Not started, or stopped by the page. */
  | { name: "idle" }
  | { name: "connecting"; attempt: number }
  /** Connected, but what is shown may be incomplete: the rows are on their way, or messages are missing. */
  | { name: "stale"; why: "rows" | "gap" }
  /** Connected, but the server itself hears nothing from behind it: what is shown may be old. */
  | { name: "stale"; why: "silent"; sinceMs: number }
  | { name: "live"; sinceMs: number }
  /** Lost; the next attempt comes by itself at `retryAtMs`, which is the server's word or a guess with jitter. */
  | { name: "waiting"; attempt: number; retryAtMs: number; slot: boolean; closed: Closed }
  /** The browser has no network. The attempt comes when it returns. */
  | { name: "offline" }
  /** Closed for a reason that reconnecting does not mend. */
  | { name: "refused"; closed: Closed };

/** What the address says of where to begin. */
export type Beginning = { positions: "true" } | { snapshot: "true" } | { since: string };

export interface FeedOptions {
  url: (beginning: Beginning) => string;
  open: (url: string) => Socket;
  clock: Clock;
  /** Messages in the order of their channel, each once. */
  onMessage: (message: Message) => void;
  /** All rows anew; what `onMessage` gets afterwards comes after them. Given for feeds that have rows. */
  onRows?: (rows: Message[]) => void;
  onPhase?: (phase: Phase) => void;
  /** A connection that held this long was a good one: the next loss starts with a short delay again. */
  stableMs?: number;
  /** The server's first word and each part of the rows may take this long. */
  beginTimeoutMs?: number;
}

export interface FeedCounts {
  received: number;
  /** Of those, sent while there was no connection. */
  recovered: number;
  duplicates: number;
  malformed: number;
  gaps: number;
  reconnects: number;
}

/** The longest delay that the server can ask for; more is taken for a mistake. */
const MAX_SLOT_MS = 600_000;
/** A turn to other rows that takes longer is said like any loss of the connection. */
const TURN_MS = 1_500;

/**
 * One live feed. It begins with the feed's rows, notes the position of everything that arrives, and after any loss goes
 * on exactly there; where that cannot be, it says so and has the rows sent anew.
 */
export class Feed {
  readonly counts: FeedCounts = { received: 0, recovered: 0, duplicates: 0, malformed: 0, gaps: 0, reconnects: 0 };
  lastMessageAtMs: number | null = null;
  lastGapAtMs: number | null = null;

  #phase: Phase = { name: "idle" };
  #connection: Connection | null = null;
  #positions = new Positions();
  /** Whether the rows are complete as of the positions. Without that, resuming would leave out what they lack. */
  #whole: boolean;
  #begun = false;
  #everBegun = false;
  /** The parts of the rows so far; null when none are on their way. */
  #rows: Message[] | null = null;
  #why: "rows" | "gap" = "rows";
  /** Channels whose gap the server's first word has told already. */
  #told = new Set<string>();
  #silentSinceMs = new Map<string, number>();
  #slotAtMs: number | null = null;
  #backoff: Backoff;
  #healing: Backoff;
  #cancelRetry: (() => void) | null = null;
  #cancelBegin: (() => void) | null = null;
  #cancelStable: (() => void) | null = null;
  #cancelHeal: (() => void) | null = null;
  /** A turn to other rows is under way; if it takes long, that is said. */
  #cancelTurn: (() => void) | null = null;

  constructor(private readonly options: FeedOptions) {
    this.#backoff = new Backoff(options.clock);
    // A gap meets all pages at once, so none of them asks for its rows at once.
    this.#healing = new Backoff(options.clock, { firstMs: 500, capMs: 15_000 });
    this.#whole = !options.onRows;
  }

  get phase(): Phase {
    return this.#phase;
  }

  start(): void {
    if (this.#phase.name === "idle" || this.#phase.name === "refused") this.#connect();
  }

  /** Where it stands is kept: a later start goes on there. */
  stop(): void {
    this.#drop();
    this.#backoff.reset();
    this.#set({ name: "idle" });
  }

  /** Connects now instead of at the end of the delay. */
  retryNow(): void {
    if (this.#phase.name === "waiting" || this.#phase.name === "offline" || this.#phase.name === "refused") this.#connect();
  }

  /** Drops a connection that may be dead without the browser knowing, as after a sleep of the machine. */
  reconnect(): void {
    if (this.#connection) this.#connect();
    else this.retryNow();
  }

  /** Connects with what the address says now, and goes on by position. What is shown stays live, if it does not take long. */
  turn(): void {
    if (this.#phase.name !== "live") return;
    this.#connect(true);
  }

  /** Has all rows sent anew, because what is here is not all of them any more. */
  renew(): void {
    this.#whole = !this.options.onRows;
    const { name } = this.#phase;
    if (name === "live" || name === "stale" || name === "connecting") this.#connect(name === "live");
  }

  networkLost(): void {
    if (this.#phase.name === "idle") return;
    this.#drop();
    this.#set({ name: "offline" });
  }

  networkBack(): void {
    if (this.#phase.name !== "offline") return;
    this.#backoff.reset();
    this.#connect();
  }

  #beginning(): Beginning {
    if (!this.#whole) return { snapshot: "true" };
    return this.#positions.known ? { since: this.#positions.token() } : { positions: "true" };
  }

  #connect(turns = false): void {
    this.#drop();
    const said = (): void => this.#set({ name: "connecting", attempt: this.#backoff.attempt });
    if (turns) {
      this.#cancelTurn = this.options.clock.after(TURN_MS, () => {
        this.#cancelTurn = null;
        if (this.#begun) this.#settle();
        else said();
      });
    } else said();
    let socket: Socket;
    try {
      socket = this.options.open(this.options.url(this.#beginning()));
    } catch {
      this.#lost({ code: 1006, reason: "", opened: false });
      return;
    }
    this.#connection = new Connection(socket, this.options.clock, {
      opened: () => this.#awaitBeginning(),
      received: (message) => this.#receive(message),
      lost: (closed) => this.#lost(closed),
    });
  }

  #receive(message: Message | null): void {
    if (!message) {
      this.counts.malformed += 1;
      return;
    }
    const position = positionOf(message);
    // What has a position is data, whatever it calls itself; what has none is the server's own word.
    if (!position) {
      this.#listen(message);
      return;
    }
    // A fold may stand behind a later message that was not folded; it is the only one of its kind all the same.
    if (!this.#positions.reach(position) && !("_fold" in message)) {
      this.counts.duplicates += 1;
      return;
    }
    if ("data" in message && Object.keys(message).length === 2 && typeof message["data"] !== "object") {
      this.counts.malformed += 1;
      return;
    }
    this.counts.received += 1;
    this.lastMessageAtMs = this.options.clock.now();
    this.options.onMessage(message);
  }

  #listen(message: Message): void {
    const channel = String(message["channel"]);
    switch (messageType(message)) {
      case "subscribed":
        this.#begin(message);
        break;
      case "snapshot":
        this.#takeRows(message);
        break;
      case "gap":
        if (this.#told.delete(channel)) break;
        this.#positions.restart(channel, message["since"]);
        this.#missed();
        this.#heal();
        break;
      case "stale":
        this.#silentSinceMs.set(channel, this.options.clock.now() - (Number(message["silent_ms"]) || 0));
        this.#settle();
        break;
      case "live":
        this.#silentSinceMs.delete(channel);
        this.#settle();
        break;
      case "reconnect":
        this.#positions.merge(message["since"]);
        this.#takeSlot(message["after_ms"]);
        break;
      default:
        this.counts.malformed += 1;
    }
  }

  #begin(message: Message): void {
    const channels = stands(message);
    const missed = Object.keys(channels).filter((name) => channels[name]!.gap === true);
    if (this.#everBegun && !this.#cancelTurn) this.counts.reconnects += 1;
    this.#begun = this.#everBegun = true;
    this.#positions.begin(message["since"], channels);
    for (const stand of Object.values(channels)) this.counts.recovered += Number(stand.recovered) || 0;
    this.#told = new Set(missed);
    this.#silentSinceMs.clear();
    this.#why = missed.length > 0 ? "gap" : "rows";
    if (missed.length > 0) {
      // Of rows that were not asked for, what was missed is no gap: they come anew.
      if (!this.#cancelTurn || !this.options.onRows) this.#missed();
      this.#whole = !this.options.onRows;
    }
    this.#cancelStable = this.options.clock.after(this.options.stableMs ?? 5_000, () => {
      this.#backoff.reset();
      this.#healing.reset();
    });
    if (this.#whole) this.#endBeginning();
    else {
      this.#rows = [];
      this.#awaitBeginning();
    }
    this.#settle();
  }

  #takeRows(message: Message): void {
    const part = message["rows"];
    this.#rows ??= [];
    if (Array.isArray(part)) for (const row of part) this.#rows.push(row as Message);
    if (message["last"] !== true) {
      this.#awaitBeginning();
      return;
    }
    const rows = this.#rows;
    this.#rows = null;
    this.#endBeginning();
    this.options.onRows?.(rows);
    // The channel may have moved on faster than the rows could be read.
    if (!this.#positions.continues(message["since"])) this.#heal();
    else if (!this.#cancelHeal) this.#whole = true;
    this.#settle();
  }

  /** Has the rows sent anew, if there are any; otherwise what is gone is gone, and has been told. */
  #heal(): void {
    if (!this.options.onRows) return;
    this.#whole = false;
    this.#why = "gap";
    this.#cancelHeal ??= this.options.clock.after(this.#healing.nextMs(), () => this.#connect());
    this.#settle();
  }

  #missed(): void {
    this.counts.gaps += 1;
    this.lastGapAtMs = this.options.clock.now();
  }

  /** The phase of a connection that holds. */
  #settle(): void {
    if (!this.#begun) return;
    if (!this.#whole && this.#cancelTurn) return;
    this.#endTurn();
    if (!this.#whole) {
      this.#set({ name: "stale", why: this.#why });
    } else if (this.#silentSinceMs.size > 0) {
      this.#set({ name: "stale", why: "silent", sinceMs: Math.min(...this.#silentSinceMs.values()) });
    } else if (this.#phase.name !== "live") {
      this.#set({ name: "live", sinceMs: this.options.clock.now() });
    }
  }

  #endTurn(): void {
    this.#cancelTurn?.();
    this.#cancelTurn = null;
  }

  #awaitBeginning(): void {
    this.#cancelBegin?.();
    this.#cancelBegin = this.options.clock.after(this.options.beginTimeoutMs ?? 10_000, () =>
      this.#lost({ code: 1006, reason: "timeout", opened: true }),
    );
  }

  #endBeginning(): void {
    this.#cancelBegin?.();
    this.#cancelBegin = null;
  }

  /** The server goes and has said when to come back: exactly then, because it has dealt the moments out. */
  #takeSlot(afterMs: unknown): void {
    const delayMs = typeof afterMs === "number" ? afterMs : NaN;
    if (!(delayMs >= 0 && delayMs <= MAX_SLOT_MS)) return;
    this.#slotAtMs = this.options.clock.now() + delayMs;
    this.#cancelRetry?.();
    this.#cancelRetry = this.options.clock.after(delayMs, () => this.#connect());
  }

  #lost(closed: Closed): void {
    const { clock } = this.options;
    this.#positions.merge(detailOf(closed.reason, "since"));
    const asked = detailOf(closed.reason, "after_ms");
    if (this.#slotAtMs === null && asked !== null) this.#takeSlot(Number(asked));
    const slotAtMs = this.#slotAtMs;
    this.#drop();
    if (!closeMeaning(closed.code).reconnect) {
      this.#set({ name: "refused", closed });
      return;
    }
    const delayMs = slotAtMs === null ? this.#backoff.nextMs() : Math.max(0, slotAtMs - clock.now());
    this.#cancelRetry = clock.after(delayMs, () => this.#connect());
    this.#set({ name: "waiting", attempt: this.#backoff.attempt, retryAtMs: clock.now() + delayMs, slot: slotAtMs !== null, closed });
  }

  #drop(): void {
    for (const cancel of [this.#cancelRetry, this.#cancelBegin, this.#cancelStable, this.#cancelHeal]) cancel?.();
    this.#cancelRetry = this.#cancelBegin = this.#cancelStable = this.#cancelHeal = null;
    this.#endTurn();
    this.#slotAtMs = null;
    this.#rows = null;
    this.#begun = false;
    this.#connection?.close();
    this.#connection = null;
  }

  #set(phase: Phase): void {
    this.#phase = phase;
    this.options.onPhase?.(phase);
  }
}
