import { beforeEach, describe, expect, it } from "vitest";

import { FakeClock, FakeSocket } from "./fakes";
import { Feed, type FeedOptions, type Phase } from "./feed";
import type { Message } from "./messages";

let clock: FakeClock;
let sockets: FakeSocket[];
let phases: Phase[];
let seen: { message: Message; buffered: boolean }[];

beforeEach(() => {
  clock = new FakeClock();
  sockets = [];
  phases = [];
  seen = [];
});

function feed(options: Partial<FeedOptions> = {}): Feed {
  return new Feed({
    url: () => "ws://shop/ws/inventory",
    open: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket;
    },
    clock,
    onMessage: (message, buffered) => seen.push({ message, buffered }),
    onPhase: (phase) => phases.push(phase),
    ...options,
  });
}

/** A snapshot that the test answers by hand, request by request. */
function snapshots() {
  const calls: { reason: string; signal: AbortSignal; succeed: () => void; fail: () => void }[] = [];
  const resync: NonNullable<FeedOptions["resync"]> = (reason, signal) =>
    new Promise((resolve, reject) => {
      calls.push({ reason, signal, succeed: resolve, fail: () => reject(new Error("no snapshot")) });
    });
  return { calls, resync };
}

const settle = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
const last = (): FakeSocket => sockets.at(-1)!;
const names = () => phases.map((phase) => phase.name);

describe("connection", () => {
  it("goes live when the socket opens, and passes objects on in order", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    last().serverSends({ message_type: "stock_alert", n: 1 });
    last().serverSends({ message_type: "never_heard_of", n: 2 });
    expect(names()).toEqual(["connecting", "live"]);
    expect(seen.map((s) => s.message["n"])).toEqual([1, 2]);
    expect(it.counts.received).toBe(2);
  });

  it("counts what is not a JSON object and goes on", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    for (const bad of ["{", "[1]", "3", "null", '"text"']) last().serverSends(bad);
    last().serverSends({ fine: true });
    expect(it.counts.malformed).toBe(5);
    expect(seen).toHaveLength(1);
  });

  it("waits twice as long after each failure, up to ten seconds", () => {
    const it = feed();
    it.start();
    const delays: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      last().serverCloses();
      const phase = it.phase;
      if (phase.name !== "waiting") throw new Error(`in phase ${phase.name}`);
      delays.push(phase.retryAtMs - clock.now());
      clock.advance(phase.retryAtMs - clock.now());
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    expect(sockets).toHaveLength(8);
  });

  it("spreads the delays over half of their length", () => {
    clock.fixedRandom = 0;
    const it = feed();
    it.start();
    last().serverCloses();
    expect(it.phase).toMatchObject({ name: "waiting", retryAtMs: clock.now() + 250 });
  });

  it("starts with a short delay again only after a connection that held", () => {
    const it = feed();
    it.start();
    const waits = (): number => (it.phase.name === "waiting" ? it.phase.retryAtMs - clock.now() : -1);
    last().serverCloses();
    clock.advance(500);
    last().serverOpens();
    clock.advance(100);
    last().serverCloses(1012, "service restart");
    expect(waits()).toBe(1000);
    clock.advance(1000);
    last().serverOpens();
    clock.advance(5000);
    last().serverCloses(1012, "service restart");
    expect(waits()).toBe(500);
    expect(it.counts.reconnects).toBe(1);
  });

  it("tells the close code, and whether the connection had ever been open", () => {
    const it = feed();
    it.start();
    last().serverCloses(1006);
    expect(it.phase).toMatchObject({ closed: { code: 1006, opened: false } });
    clock.advance(500);
    last().serverOpens();
    last().serverCloses(3008, "slow");
    expect(it.phase).toMatchObject({ closed: { code: 3008, reason: "slow", opened: true } });
  });

  it("does not come back by itself after a close that says something must be mended", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    last().serverCloses(1009, "message too big");
    clock.advance(60_000);
    expect(it.phase.name).toBe("refused");
    expect(sockets).toHaveLength(1);
    it.retryNow();
    expect(sockets).toHaveLength(2);
  });

  it("gives up a handshake that hangs", () => {
    const it = feed();
    it.start();
    clock.advance(10_000);
    expect(sockets[0]!.closed).toBe(true);
    expect(it.phase.name).toBe("waiting");
  });

  it("connects at once on request, and only once", () => {
    const it = feed();
    it.start();
    last().serverCloses();
    it.retryNow();
    it.retryNow();
    expect(sockets).toHaveLength(2);
    clock.advance(9_000);
    expect(sockets).toHaveLength(2);
  });

  it("follows the browser off line and back", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    it.networkLost();
    expect(it.phase.name).toBe("offline");
    clock.advance(60_000);
    expect(sockets).toHaveLength(1);
    it.networkBack();
    last().serverOpens();
    expect(it.phase.name).toBe("live");
  });

  it("leaves no timer and no open socket when stopped", () => {
    const it = feed();
    it.start();
    last().serverOpens();
    it.stop();
    expect(last().closed).toBe(true);
    expect(clock.pending).toBe(0);
    last().serverSends({ late: true });
    expect(seen).toHaveLength(0);
  });

  it("asks for its address anew each time, since the token may have changed", () => {
    let token = "a";
    const it = feed({ url: () => `ws://shop/ws?token=${token}` });
    it.start();
    token = "b";
    it.reconnect();
    expect(sockets.map((s) => s.url)).toEqual(["ws://shop/ws?token=a", "ws://shop/ws?token=b"]);
  });
});

describe("snapshot", () => {
  it("asks for it after the socket is open and applies what arrived in between afterwards", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    expect(calls).toHaveLength(0);
    last().serverOpens();
    expect(it.phase).toEqual({ name: "stale", why: "connect" });
    last().serverSends({ n: 1 });
    last().serverSends({ n: 2 });
    expect(seen).toHaveLength(0);
    calls[0]!.succeed();
    await settle();
    last().serverSends({ n: 3 });
    expect(seen.map((s) => [s.message["n"], s.buffered])).toEqual([
      [1, true],
      [2, true],
      [3, false],
    ]);
    expect(it.phase.name).toBe("live");
  });

  it("asks again after every reconnect, and ignores the answer of the connection before", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    last().serverOpens();
    last().serverSends({ n: 1 });
    last().serverCloses();
    expect(calls[0]!.signal.aborted).toBe(true);
    clock.advance(500);
    last().serverOpens();
    calls[0]!.succeed();
    await settle();
    expect(it.phase.name).toBe("stale");
    expect(seen).toHaveLength(0);
    calls[1]!.succeed();
    await settle();
    expect(it.phase.name).toBe("live");
    expect(calls.map((c) => c.reason)).toEqual(["connect", "connect"]);
  });

  it("is fetched again when the server reports a gap", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    last().serverOpens();
    calls[0]!.succeed();
    await settle();
    last().serverSends({ message_type: "gap" });
    last().serverSends({ n: 1 });
    expect(it.phase).toEqual({ name: "stale", why: "gap" });
    expect(seen).toHaveLength(0);
    calls[1]!.succeed();
    await settle();
    expect(seen).toEqual([{ message: { n: 1 }, buffered: true }]);
    expect(it.counts.gaps).toBe(1);
  });

  it("is void when a gap comes while it is fetched", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    last().serverOpens();
    last().serverSends({ message_type: "gap" });
    calls[0]!.succeed();
    await settle();
    expect(it.phase.name).toBe("stale");
    calls[1]!.succeed();
    await settle();
    expect(it.phase.name).toBe("live");
  });

  it("is tried again when it fails, while messages wait for it", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    last().serverOpens();
    last().serverSends({ n: 1 });
    calls[0]!.fail();
    await settle();
    expect(it.phase).toEqual({ name: "stale", why: "failed" });
    last().serverSends({ n: 2 });
    clock.advance(1000);
    calls[1]!.succeed();
    await settle();
    expect(seen.map((s) => s.message["n"])).toEqual([1, 2]);
    expect(it.phase.name).toBe("live");
  });

  it("refreshes without leaving the live phase, and a failed refresh loses no message", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync });
    it.start();
    last().serverOpens();
    calls[0]!.succeed();
    await settle();
    it.refresh();
    last().serverSends({ n: 1 });
    expect(it.phase.name).toBe("live");
    calls[1]!.fail();
    await settle();
    expect(seen.map((s) => s.message["n"])).toEqual([1]);
    expect(it.phase.name).toBe("live");
  });

  it("is asked for anew when more arrives meanwhile than is kept", async () => {
    const { calls, resync } = snapshots();
    const it = feed({ resync, bufferLimit: 3 });
    it.start();
    last().serverOpens();
    for (let n = 1; n <= 4; n += 1) last().serverSends({ n });
    expect(calls).toHaveLength(2);
    expect(calls[0]!.signal.aborted).toBe(true);
    last().serverSends({ n: 5 });
    calls[1]!.succeed();
    await settle();
    expect(seen.map((s) => s.message["n"])).toEqual([5]);
  });
});
