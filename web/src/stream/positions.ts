/** Where a message stands in its channel. Offsets are compared within one epoch only. */
export interface Position {
  channel: string;
  epoch: string;
  offset: number;
}

interface Line {
  offset: number;
  /** Not known of a node's own numbering until it has said something. */
  channel: string | null;
}

/** What begins the epoch of a numbering that one node alone keeps, for what plain publishers send. */
const NODE_LOCAL = "~";
const PATTERN = /^([A-Za-z0-9~]{1,64}):(\d{1,16})$/;

function* read(token: unknown): Generator<[epoch: string, offset: number]> {
  if (typeof token !== "string") return;
  for (const text of token.split(",")) {
    const match = PATTERN.exec(text);
    if (match) yield [match[1]!, Number(match[2])];
  }
}

/**
 * What has been received: the last offset of each numbering. A channel has two of them, one that all nodes share and one
 * of the node that the page is connected to. No two channels share an epoch, so the epoch is the key.
 */
export class Positions {
  #lines = new Map<string, Line>();

  get known(): boolean {
    return this.#lines.size > 0;
  }

  /** What `?since=` takes. */
  token(): string {
    return [...this.#lines].map(([epoch, { offset }]) => `${epoch}:${offset}`).join(",");
  }

  /** A connection begins: from here on every message counts. */
  begin(token: unknown, channels: Record<string, { epoch?: unknown }>): void {
    const before = this.#lines;
    this.#lines = new Map();
    for (const [epoch, offset] of read(token)) {
      const owner = Object.entries(channels).find(([, stand]) => stand.epoch === epoch);
      this.#lines.set(epoch, { offset, channel: owner?.[0] ?? before.get(epoch)?.channel ?? null });
    }
  }

  /** Takes over what the server says has been sent; never goes back. */
  merge(token: unknown): void {
    for (const [epoch, offset] of read(token)) {
      const line = this.#lines.get(epoch);
      if (!line) this.#lines.set(epoch, { offset, channel: null });
      else line.offset = Math.max(line.offset, offset);
    }
  }

  /** Notes a message; false when it has been received before. */
  reach({ channel, epoch, offset }: Position): boolean {
    const line = this.#lines.get(epoch);
    if (line) {
      line.channel = channel;
      if (offset <= line.offset) return false;
      line.offset = offset;
      return true;
    }
    const isLocal = epoch.startsWith(NODE_LOCAL);
    // A numbering that began anew replaces the one before it.
    this.#forget(channel, (other) => other.startsWith(NODE_LOCAL) === isLocal);
    this.#lines.set(epoch, { offset, channel });
    return true;
  }

  /** The channel goes on from `since`, after a gap. */
  restart(channel: string, since: unknown): void {
    this.#forget(channel, () => true);
    for (const [epoch, offset] of read(since)) this.#lines.set(epoch, { offset, channel });
  }

  /** Whether rows as of `token` leave nothing out between them and what comes next. */
  continues(token: unknown): boolean {
    for (const [epoch, offset] of read(token)) {
      const line = this.#lines.get(epoch);
      if (!line || line.offset > offset) return false;
    }
    return true;
  }

  #forget(channel: string, which: (epoch: string) => boolean): void {
    for (const [epoch, line] of this.#lines) if (line.channel === channel && which(epoch)) this.#lines.delete(epoch);
  }
}
