import { socketUrl } from "../api";
import { Backoff } from "../stream/backoff";
import { browserClock, type Clock } from "../stream/clock";
import { Connection, type Socket } from "../stream/connection";
import { messageType, positionOf, saidAtMs } from "../stream/messages";
import { Positions } from "../stream/positions";
import { PATHS, type FeedName } from "./feeds";
import { Lanes } from "./lanes.svelte";

/** What was said shortly before a moment is played as fast as the server can, to fill the lanes. */
const BEFORE_MS = 10 * 60_000;
const BEFORE_SPEED = 1_000;
/** A slider that is being moved asks for nothing. */
const SETTLED_MS = 250;

export interface Moment {
  atMs: number;
  /** How fast the past goes on; null while it stands still. */
  speed: number | null;
}

/** One feed's past. */
interface Line {
  connection: Connection | null;
  cancel: () => void;
  /** The minutes before the shown moment are on their way. */
  isFilling: boolean;
  /** Where its record has been read to. */
  readMs: number;
  /** Two plays may meet in a message, which counts once. */
  positions: Positions;
  backoff: Backoff;
}

/**
 * What the feeds said at the shown moment, from the server's record. A moment itself cannot be subscribed to, only what
 * follows it, so the lanes are filled with the minutes before; then they go on as the past does. A connection that is lost
 * is made again, and what was said meanwhile is caught up with.
 */
export class Replay {
  lanes = $state.raw(new Lanes());
  #lines = new Map<FeedName, Line>();
  #cancel: () => void = () => {};

  constructor(
    /** Where the past is, and how fast it goes on. */
    private readonly moment: () => Moment,
    private readonly open: (url: string) => Socket = (url) => new WebSocket(url) as unknown as Socket,
    private readonly clock: Clock = browserClock,
  ) {}

  /** Another moment: what stands in the lanes is of no use. */
  jump(feeds: readonly FeedName[]): void {
    this.stop();
    this.lanes = new Lanes();
    this.#cancel = this.clock.after(SETTLED_MS, () => {
      for (const feed of feeds) {
        this.#lines.set(feed, { connection: null, cancel: () => {}, isFilling: false, readMs: 0, positions: new Positions(), backoff: new Backoff(this.clock) });
        this.#fill(feed, this.moment().atMs - BEFORE_MS);
      }
    });
  }

  /** The past goes on, stands still, or goes at another speed. What is being filled goes on so when it is full. */
  goOn(): void {
    for (const [feed, line] of this.#lines) if (!line.isFilling) this.#follow(feed);
  }

  stop(): void {
    this.#cancel();
    for (const line of this.#lines.values()) drop(line);
    this.#lines.clear();
  }

  /** Everything from then to the shown moment at once. */
  #fill(feed: FeedName, fromMs: number): void {
    this.#play(feed, fromMs, BEFORE_SPEED, true);
  }

  #follow(feed: FeedName): void {
    const { atMs, speed } = this.moment();
    if (speed === null) drop(this.#lines.get(feed)!);
    else this.#play(feed, atMs, speed, false);
  }

  #play(feed: FeedName, fromMs: number, speed: number, isFilling: boolean): void {
    const line = this.#lines.get(feed)!;
    drop(line);
    Object.assign(line, { isFilling, readMs: fromMs });
    const { lanes } = this;
    const ended = (): void => {
      drop(line);
      if (isFilling) this.#follow(feed);
    };
    const url = socketUrl(PATHS[feed], { from: new Date(fromMs).toISOString(), speed: String(speed), positions: "true" });
    line.connection = new Connection(this.open(url), this.clock, {
      opened: () => {},
      received: (message) => {
        if (!message) return;
        const position = positionOf(message);
        // The record ends where the live stream begins.
        if (!position) return messageType(message) === "subscribed" ? ended() : undefined;
        const atMs = saidAtMs(message) ?? fromMs;
        if (isFilling && atMs > this.moment().atMs) return ended();
        line.backoff.reset();
        line.readMs = Math.max(line.readMs, atMs);
        if (line.positions.reach(position)) lanes.take(feed, message, atMs);
      },
      lost: () => {
        line.isFilling = true;
        line.cancel = this.clock.after(line.backoff.nextMs(), () => this.#fill(feed, line.readMs));
      },
    });
  }
}

function drop(line: Line): void {
  line.cancel();
  line.connection?.close();
  line.connection = null;
  line.isFilling = false;
}
