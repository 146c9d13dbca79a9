import { socketUrl } from "../api";
import { Connection, type Socket } from "../stream/connection";
import { browserClock } from "../stream/clock";
import { messageType, positionOf, type Message } from "../stream/messages";
import { parseMs } from "../stream/timestamp";
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

/** When something was said, by the server's word. */
function saidAtMs(message: Message): number | null {
  for (const field of ["receivedAt", "timestamp", "eventTime"]) {
    const atMs = parseMs(typeof message[field] === "string" ? message[field] : null);
    if (atMs !== null) return atMs;
  }
  return null;
}

/**
 * What the feeds said at the shown moment, from the server's record. A moment itself cannot be subscribed to, only what
 * follows it, so the lanes are filled with the minutes before; then they go on as the past does.
 */
export class Replay {
  lanes = $state.raw(new Lanes());
  #connections: Connection[] = [];
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly open: (url: string) => Socket = (url) => new WebSocket(url) as unknown as Socket) {}

  /** Another moment: what stands in the lanes is of no use. `now` tells where the past is when the slider rests. */
  jump(feeds: readonly FeedName[], now: () => Moment): void {
    this.stop();
    this.lanes = new Lanes();
    this.#timer = setTimeout(() => {
      const { atMs, speed } = now();
      for (const feed of feeds) {
        this.#play(feed, atMs - BEFORE_MS, BEFORE_SPEED, atMs, () => speed !== null && this.#play(feed, atMs, speed));
      }
    }, SETTLED_MS);
  }

  /** The past goes on, faster or slower, from where it is. */
  goOn(feeds: readonly FeedName[], { atMs, speed }: Moment): void {
    this.stop();
    if (speed !== null) for (const feed of feeds) this.#play(feed, atMs, speed);
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    for (const connection of this.#connections) connection.close();
    this.#connections = [];
  }

  #play(feed: FeedName, fromMs: number, speed: number, untilMs = Infinity, then?: () => void): void {
    const url = socketUrl(PATHS[feed], { from: new Date(fromMs).toISOString(), speed: String(speed), positions: "true" });
    const { lanes } = this;
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      connection.close();
      this.#connections = this.#connections.filter((other) => other !== connection);
      then?.();
    };
    const connection: Connection = new Connection(this.open(url), browserClock, {
      opened: () => {},
      received: (message) => {
        if (!message) return;
        const position = positionOf(message);
        // The record ends where the live stream begins.
        if (!position) return messageType(message) === "subscribed" ? end() : undefined;
        const atMs = saidAtMs(message) ?? fromMs;
        if (atMs > untilMs) end();
        else lanes.take(feed, message, atMs);
      },
      lost: end,
    });
    this.#connections.push(connection);
  }
}
