import { beforeEach, describe, expect, it } from "vitest";

import { FakeClock, FakeSocket } from "./fakes";
import { Feed, type Beginning, type FeedOptions, type Phase } from "./feed";
import type { Message } from "./messages";

let clock: FakeClock;
let sockets: FakeSocket[];
let asked: Beginning[];
let phases: Phase[];
/** What the page was given, in order; rows as a list. */
let seen: unknown[];

beforeEach(() => {
  clock = new FakeClock();
  [sockets, asked, phases, seen] = [[], [], [], []];
});

function feed(options: Partial<FeedOptions> = {}): Feed {
  return new Feed({
    url: (beginning) => {
      asked.push(beginning);
      return "ws://shop/ws/inventory";
    },
    open: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket;
    },
    clock,
    onMessage: (message) => seen.push(message["n"]),
    onPhase: (phase) => phases.push(phase),
    ...options,
  });
}

const withRows = (): Feed => feed({ onRows: (rows) => seen.push(rows.map((row) => row["id"])) });
const last = (): FakeSocket => sockets.at(-1)!;
const waitMs = (it: Feed): number => (it.phase.name === "waiting" ? it.phase.retryAtMs - clock.now() : -1);

/** A message of channel `c` (epoch `e`), unless another is named. */
const data = (n: number, channel = "c", epoch = "e", offset = n): Message => ({ n, _position: { channel, epoch, offset } });
const says = (message_type: string, fields: Message = {}): Message => ({ message_type, channel: "c", ...fields });

interface Word {
  offset?: number;
  epoch?: string;
  recovered?: number;
  gap?: boolean;
}

/** The server answers the handshake and says where channel `c` stands. */
function accept({ offset = 0, epoch = "e", recovered = 0, gap = false }: Word = {}): void {
  last().serverOpens();
  last().serverSends({ message_type: "subscribed", since: `${epoch}:${offset}`, channels: { c: { epoch, offset: offset + recovered, recovered, gap } } });
}

const rows = (ids: number[], since: string, lastPart = true): void => last().serverSends({ message_type: "snapshot", rows: ids.map((id) => ({ id })), last: lastPart, since });

/** A feed that is live, with what comes before taken out of the way. */
function live(it: Feed): Feed {
  it.start();
  accept();
  if (it.phase.name === "stale") rows([], "e:0");
  expect(it.phase.name).toBe("live");
  seen.length = 0;
  return it;
}

describe("connection", () => {
  it("is live once the server has said where the feed stands, and passes messages on in order", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    expect(it.phase.name).toBe("connecting");
    accept();
    for (const n of [1, 2]) last().serverSends(data(n));
    expect(phases.map((phase) => phase.name)).toEqual(["connecting", "live"]);
    expect([seen, it.counts.received, asked]).toEqual([[1, 2], 2, [{ positions: "true" }]]);
  });

  it("counts what is not a JSON object and goes on from behind it", () => {
    const it = live(feed());
    for (const bad of ["{", "[1]", "3", "null", '"text"']) last().serverSends(bad);
    last().serverSends({ data: 7, _position: { channel: "c", epoch: "e", offset: 1 } });
    last().serverSends(data(2));
    expect([it.counts.malformed, seen]).toEqual([6, [2]]);
    last().serverCloses();
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "e:2" });
  });

  it("does not take data for the server's own word", () => {
    const it = live(withRows());
    last().serverSends({ ...data(1), message_type: "gap" });
    last().serverSends({ ...data(2), message_type: "stale" });
    expect([it.phase.name, it.counts.gaps, seen]).toEqual(["live", 0, [1, 2]]);
  });

  it("waits twice as long after each failure, up to ten seconds", () => {
    const it = feed();
    it.start();
    const delays: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      last().serverCloses();
      delays.push(waitMs(it));
      clock.advance(waitMs(it));
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    expect(sockets).toHaveLength(8);
  });

  it("spreads each delay over the upper half of its length", () => {
    for (const [random, least] of [[0, 250], [0.5, 375], [0.999, 500]] as const) {
      clock.fixedRandom = random;
      const it = feed();
      it.start();
      last().serverCloses();
      expect(waitMs(it)).toBe(least);
      it.stop();
    }
  });

  it("starts with a short delay again only after a connection that held", () => {
    const it = feed();
    it.start();
    last().serverCloses();
    clock.advance(500);
    accept();
    clock.advance(100);
    last().serverCloses(1012, "service restart");
    expect(waitMs(it)).toBe(1000);
    clock.advance(1000);
    accept();
    clock.advance(5000);
    last().serverCloses(1012, "service restart");
    expect(waitMs(it)).toBe(500);
    expect(it.counts.reconnects).toBe(1);
  });

  it("tells the close code, and whether the connection had ever been open", () => {
    const it = feed();
    it.start();
    last().serverCloses(1006);
    expect(it.phase).toMatchObject({ closed: { code: 1006, opened: false }, slot: false });
    clock.advance(500);
    accept();
    last().serverCloses(1011, "internal");
    expect(it.phase).toMatchObject({ closed: { code: 1011, reason: "internal", opened: true } });
  });

  it("does not come back by itself after a close that says something must be mended", () => {
    const it = live(feed());
    last().serverCloses(1009, "message too big");
    clock.advance(60_000);
    expect([it.phase.name, sockets.length]).toEqual(["refused", 1]);
    it.retryNow();
    expect(sockets).toHaveLength(2);
  });

  it("gives up a handshake that hangs, and a server that then says nothing", () => {
    const it = feed();
    it.start();
    clock.advance(20_000);
    expect([sockets[0]!.closed, it.phase.name]).toEqual([true, "waiting"]);
    clock.advance(500);
    last().serverOpens();
    clock.advance(10_000);
    expect([sockets[1]!.closed, it.phase.name]).toEqual([true, "waiting"]);
  });

  it("asks a silent server whether it is there, and leaves it when it does not answer", () => {
    const it = live(feed());
    clock.advance(15_000);
    expect(last().sent).toEqual(['{"type":"ping"}']);
    last().serverSends({ type: "pong" });
    clock.advance(20_000);
    expect([it.phase.name, last().sent.length, it.counts.malformed]).toEqual(["live", 2, 0]);
    clock.advance(5_000);
    expect(it.phase).toMatchObject({ name: "waiting", closed: { code: 3012 } });
  });

  it("connects at once on request, and only once", () => {
    const it = feed();
    it.start();
    last().serverCloses();
    it.retryNow();
    it.retryNow();
    clock.advance(9_000);
    expect(sockets).toHaveLength(2);
  });

  it("leaves no timer and no open socket when stopped", () => {
    const it = live(withRows());
    last().serverSends(says("gap", { since: "e:9" }));
    last().serverSends(says("reconnect", { after_ms: 900, since: "e:9" }));
    it.stop();
    expect([last().closed, clock.pending]).toEqual([true, 0]);
    last().serverSends(data(1));
    expect(seen).toEqual([]);
  });
});

describe("a turn to other rows", () => {
  it("goes on by position, and stays live meanwhile", () => {
    const it = live(withRows());
    last().serverSends(data(4));
    const told = phases.length;
    it.turn();
    expect([sockets.length, asked.at(-1)]).toEqual([2, { since: "e:4" }]);
    accept({ offset: 4 });
    last().serverSends(data(5));
    expect([it.phase.name, phases.length, it.counts.reconnects, seen]).toEqual(["live", told, 0, [4, 5]]);
  });

  it("takes rows in place of what is too long ago, without calling that a gap", () => {
    const it = live(withRows());
    it.turn();
    accept({ offset: 9, gap: true });
    expect(it.phase.name).toBe("live");
    rows([7], "e:9");
    expect([it.phase.name, it.counts.gaps, seen]).toEqual(["live", 0, [[7]]]);
  });

  it("says so when it takes long", () => {
    const it = live(withRows());
    it.turn();
    clock.advance(1_500);
    expect(it.phase.name).toBe("connecting");
    accept();
    expect(it.phase.name).toBe("live");
  });

  it("begins with all rows when those that are here do not suffice, however it stands", () => {
    const it = live(withRows());
    it.renew();
    expect(asked.at(-1)).toEqual({ snapshot: "true" });
    last().serverCloses();
    it.renew();
    clock.advance(waitMs(it));
    expect(asked.at(-1)).toEqual({ snapshot: "true" });
  });
});

describe("rows", () => {
  it("come first, in parts, and are live with the last of them", () => {
    const it = withRows();
    it.start();
    accept({ offset: 4 });
    expect([asked, it.phase]).toEqual([[{ snapshot: "true" }], { name: "stale", why: "rows" }]);
    rows([1, 2], "e:4", false);
    expect(seen).toEqual([]);
    rows([3], "e:4");
    last().serverSends(data(5));
    expect([seen, it.phase.name]).toEqual([[[1, 2, 3], 5], "live"]);
  });

  it("are asked for again when the connection is lost between their parts", () => {
    const it = withRows();
    it.start();
    accept({ offset: 4 });
    rows([1, 2], "e:4", false);
    last().serverCloses();
    clock.advance(500);
    accept({ offset: 6 });
    rows([1], "e:6");
    expect([asked, seen, it.phase.name]).toEqual([[{ snapshot: "true" }, { snapshot: "true" }], [[1]], "live"]);
  });

  it("may take long as long as parts keep coming", () => {
    const it = withRows();
    it.start();
    accept();
    for (let part = 0; part < 5; part += 1) {
      clock.advance(9_000);
      rows([part], "e:0", false);
    }
    expect(it.phase.name).toBe("stale");
    clock.advance(10_000);
    expect(it.phase.name).toBe("waiting");
  });

  it("are asked for again when the channel had moved on before they were there", () => {
    const it = withRows();
    it.start();
    accept({ offset: 9, gap: true });
    last().serverSends(says("gap", { reason: "history too short", since: "e:9" }));
    rows([1], "e:4");
    expect(it.phase).toEqual({ name: "stale", why: "gap" });
    clock.advance(500);
    accept({ offset: 9 });
    rows([2], "e:9");
    expect([seen, it.phase.name, it.counts.gaps]).toEqual([[[1], [2]], "live", 1]);
  });
});

describe("resume", () => {
  it("goes on after the last message that was received", () => {
    const it = live(withRows());
    for (const n of [1, 2, 3]) last().serverSends(data(n));
    last().serverCloses();
    clock.advance(500);
    accept({ offset: 3, recovered: 2 });
    expect([asked.at(-1), it.phase.name]).toEqual([{ since: "e:3" }, "live"]);
    for (const n of [4, 5, 6]) last().serverSends(data(n));
    expect([seen, it.counts.recovered, it.counts.gaps]).toEqual([[1, 2, 3, 4, 5, 6], 2, 0]);
  });

  it("names every channel, and each node's own numbering beside the shared one", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    last().serverSends({ message_type: "subscribed", since: "e:4,f:7", channels: { c: { epoch: "e", offset: 4 }, d: { epoch: "f", offset: 7 } } });
    last().serverSends(data(8, "d", "f"));
    last().serverSends({ n: 1, _position: { channel: "c", epoch: "~l", offset: 1, node_local: true } });
    last().serverCloses();
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "e:4,f:8,~l:1" });
  });

  it("begins where the server says when nothing has arrived yet", () => {
    const it = feed();
    it.start();
    accept({ offset: 12 });
    last().serverCloses();
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "e:12" });
  });

  it("drops what it has had before, by position and not by content", () => {
    const it = live(feed());
    for (const n of [1, 2, 2, 1, 3]) last().serverSends(data(n));
    last().serverSends(data(9, "d", "f", 1));
    expect([seen, it.counts.duplicates, it.counts.received]).toEqual([[1, 2, 3, 9], 2, 4]);
  });

  it("keeps folds, which may stand behind what was not folded", () => {
    live(feed());
    last().serverSends(data(5));
    last().serverSends({ ...data(4), _fold: { count: 3, first_offset: 1, last_offset: 4 } });
    last().serverCloses();
    clock.advance(500);
    expect([seen, asked.at(-1)]).toEqual([[5, 4], { since: "e:5" }]);
  });

  it("goes on there after the browser was off line, and after the machine slept", () => {
    const it = live(withRows());
    last().serverSends(data(1));
    it.networkLost();
    expect([it.phase.name, last().closed]).toEqual(["offline", true]);
    clock.advance(60_000);
    expect(sockets).toHaveLength(1);
    it.networkBack();
    accept({ offset: 1 });
    expect([asked.at(-1), it.phase.name]).toEqual([{ since: "e:1" }, "live"]);
    last().serverSends(data(2));
    it.reconnect();
    expect([asked.at(-1), sockets.length]).toEqual([{ since: "e:2" }, 3]);
  });

  it("goes on there after a stop, so a new token does not cost a message", () => {
    const it = live(feed());
    last().serverSends(data(1));
    it.stop();
    it.start();
    expect(asked.at(-1)).toEqual({ since: "e:1" });
  });

  it("comes back to where the server left off when it was too slow", () => {
    const it = live(withRows());
    last().serverSends(data(1));
    last().serverCloses(3008, "slow; since=e:7,f:2");
    expect(it.phase).toMatchObject({ name: "waiting", slot: false });
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "e:7,f:2" });
  });

  it("never goes back behind what it has received, whatever a close says", () => {
    live(feed());
    last().serverSends(data(8));
    last().serverCloses(3008, "slow; since=e:7,");
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "e:8" });
  });
});

describe("the server's slot", () => {
  it("is kept to the millisecond, without jitter", () => {
    clock.fixedRandom = 0;
    const it = live(withRows());
    last().serverSends({ message_type: "reconnect", after_ms: 3_210, since: "e:5" });
    expect(it.phase.name).toBe("live");
    clock.advance(10);
    last().serverSends(data(6));
    last().serverCloses(1012, "service restart; after_ms=3210");
    expect(it.phase).toMatchObject({ name: "waiting", slot: true });
    expect(waitMs(it)).toBe(3_200);
    clock.advance(3_199);
    expect(sockets).toHaveLength(1);
    clock.advance(1);
    expect([sockets.length, asked.at(-1)]).toEqual([2, { since: "e:6" }]);
  });

  it("is read from the close when the message did not arrive", () => {
    const it = live(feed());
    last().serverCloses(1012, "service restart; after_ms=70");
    expect([waitMs(it), it.phase]).toMatchObject([70, { slot: true }]);
  });

  it("holds even when the close is late or lost", () => {
    const it = live(feed());
    last().serverSends({ message_type: "reconnect", after_ms: 100, since: "e:0" });
    clock.advance(100);
    expect([sockets.length, sockets[0]!.closed, it.phase.name]).toEqual([2, true, "connecting"]);
    expect(clock.pending).toBe(1);
  });

  it("is for one attempt; after it the delays grow as ever", () => {
    const it = live(feed());
    last().serverCloses(1012, "service restart; after_ms=70");
    clock.advance(70);
    last().serverCloses();
    expect([waitMs(it), it.phase]).toMatchObject([500, { slot: false }]);
  });

  it("is not believed when it is no delay", () => {
    for (const after_ms of [-1, "soon", null, 1e12]) {
      const it = live(feed());
      last().serverSends({ message_type: "reconnect", after_ms, since: "e:0" });
      last().serverCloses(1012, `service restart; after_ms=${String(after_ms)}`);
      expect([waitMs(it), it.phase]).toMatchObject([500, { slot: false }]);
      it.stop();
    }
  });
});

describe("gap", () => {
  it("while connected: said at once, healed by the rows after a pause of its own", () => {
    clock.fixedRandom = 0;
    const it = live(withRows());
    last().serverSends(data(1));
    last().serverSends(says("gap", { reason: "lagged", since: "g:40" }));
    expect([it.phase, it.counts.gaps, it.lastGapAtMs]).toEqual([{ name: "stale", why: "gap" }, 1, clock.now()]);
    last().serverSends(data(41, "c", "g"));
    expect(seen).toEqual([1, 41]);
    clock.advance(249);
    expect(sockets).toHaveLength(1);
    clock.advance(1);
    expect([sockets.length, asked.at(-1)]).toEqual([2, { snapshot: "true" }]);
    accept({ offset: 44, epoch: "g" });
    rows([1], "g:44");
    last().serverSends(data(45, "c", "g"));
    expect([seen, it.phase.name]).toEqual([[1, 41, [1], 45], "live"]);
    last().serverCloses();
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "g:45" });
  });

  it("while rows are on their way: they are void", () => {
    const it = withRows();
    it.start();
    accept();
    rows([1], "e:0", false);
    last().serverSends(says("gap", { since: "e:9" }));
    rows([2], "e:0");
    expect(it.phase).toEqual({ name: "stale", why: "gap" });
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ snapshot: "true" });
  });

  it("while away: the server says so and sends the rows by itself", () => {
    const it = live(withRows());
    last().serverSends(data(1));
    last().serverCloses();
    clock.advance(500);
    accept({ offset: 90, epoch: "g", gap: true });
    last().serverSends(says("gap", { reason: "history too short", since: "g:90" }));
    expect(it.phase).toEqual({ name: "stale", why: "gap" });
    rows([7], "g:90");
    expect([seen, it.phase.name, it.counts.gaps, sockets.length]).toEqual([[1, [7]], "live", 1, 2]);
    last().serverSends(says("gap", { since: "g:95" }));
    expect(it.counts.gaps).toBe(2);
  });

  it("of a feed without rows is said, and the feed goes on", () => {
    const it = live(feed());
    last().serverSends(says("gap", { since: "g:9" }));
    expect([it.phase.name, it.counts.gaps]).toEqual(["live", 1]);
    last().serverCloses();
    clock.advance(500);
    expect(asked.at(-1)).toEqual({ since: "g:9" });
    accept({ offset: 20, epoch: "h", gap: true });
    last().serverSends(says("gap", { since: "h:20" }));
    expect([it.phase.name, it.counts.gaps]).toEqual(["live", 2]);
  });

  it("upon gap: the pauses grow, and a connection that held makes them short again", () => {
    const it = live(withRows());
    const pauses: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      last().serverSends(says("gap", { since: "e:0" }));
      const before = clock.now();
      const connections = sockets.length;
      while (sockets.length === connections) clock.advance(50);
      pauses.push(clock.now() - before);
      accept();
      rows([], "e:0");
    }
    clock.advance(5_000);
    last().serverSends(says("gap", { since: "e:0" }));
    clock.advance(500);
    expect([pauses, sockets.length, it.counts.gaps]).toEqual([[500, 1000, 2000], 5, 4]);
  });
});

describe("silence behind the server", () => {
  it("is a state of its own until every channel is back, and nothing is loaded again", () => {
    const it = live(withRows());
    last().serverSends(says("stale", { silent_ms: 2_000 }));
    last().serverSends(says("stale", { channel: "d", silent_ms: 3_000 }));
    expect(it.phase).toEqual({ name: "stale", why: "silent", sinceMs: clock.now() - 3_000 });
    last().serverSends(data(1));
    last().serverSends(says("live", { channel: "d" }));
    expect(it.phase).toMatchObject({ why: "silent", sinceMs: clock.now() - 2_000 });
    last().serverSends(says("live"));
    expect([it.phase.name, seen, sockets.length]).toEqual(["live", [1], 1]);
  });

  it("that a connection begins with is told too, and ends with the connection", () => {
    const it = withRows();
    it.start();
    accept();
    last().serverSends(says("stale", { silent_ms: 5_000 }));
    expect(it.phase).toEqual({ name: "stale", why: "rows" });
    rows([], "e:0");
    expect(it.phase).toMatchObject({ name: "stale", why: "silent" });
    last().serverCloses();
    clock.advance(500);
    accept();
    expect(it.phase.name).toBe("live");
  });
});
