import { beforeEach, describe, expect, it, vi } from "vitest";

import { FakeClock, FakeSocket } from "../stream/fakes";
import { Replay, type Moment } from "./replay.svelte";

vi.stubGlobal("location", new URL("http://localhost/"));
vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => {}, removeItem: () => {} });
vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => {}, removeItem: () => {} });

const MOMENT_MS = Date.UTC(2026, 10, 21, 4, 10);

describe("replay", () => {
  let clock: FakeClock;
  let sockets: FakeSocket[];
  let moment: Moment;
  let replay: Replay;
  const last = (): FakeSocket => sockets.at(-1)!;
  const asked = (socket: FakeSocket) => {
    const query = new URL(socket.url, "http://localhost").searchParams;
    return { beforeS: (moment.atMs - Date.parse(query.get("from")!)) / 1_000, speed: query.get("speed") };
  };
  /** An alert so many seconds after the shown moment. */
  const alert = (afterS: number, offset: number) => ({
    message_type: "stock_alert", alert_level: "low", item_id: offset, sku: `T-${offset}`, current_stock: 1, min_level: 5,
    timestamp: new Date(MOMENT_MS + afterS * 1_000).toISOString(), _position: { channel: "inventory", epoch: "e", offset },
  });
  const told = (): string[] => replay.lanes.alerts.map(({ sku }) => sku).sort();
  const settle = (): void => {
    vi.advanceTimersByTime(2_000);
  };

  beforeEach(() => {
    vi.useFakeTimers({ now: MOMENT_MS });
    clock = new FakeClock();
    sockets = [];
    moment = { atMs: MOMENT_MS, speed: null };
    replay = new Replay(() => moment, (url) => (sockets.push(new FakeSocket(url)), last()), clock);
    replay.jump(["inventory"]);
    clock.advance(250);
    last().serverOpens();
  });

  it("tells what was said before the moment, and nothing of what came after it", () => {
    expect(asked(last())).toEqual({ beforeS: 600, speed: "1000" });
    last().serverSends(alert(-60, 1));
    last().serverSends(alert(3, 2));
    settle();
    expect(told()).toEqual(["T-1"]);
    expect(last().closed).toBe(true);
    expect(sockets).toHaveLength(1);
  });

  it("is filled to the end when the past begins to go on meanwhile", () => {
    last().serverSends(alert(-60, 1));
    moment = { atMs: MOMENT_MS, speed: 10 };
    replay.goOn();
    expect(sockets).toHaveLength(1);
    last().serverSends(alert(-30, 2));
    last().serverSends(alert(3, 3));
    expect(sockets).toHaveLength(2);
    expect(asked(last())).toEqual({ beforeS: 0, speed: "10" });
    last().serverOpens();
    // Two plays may meet in a message.
    last().serverSends(alert(-30, 2));
    last().serverSends(alert(3, 3));
    settle();
    expect(told()).toEqual(["T-1", "T-2", "T-3"]);
    expect(replay.lanes.alerts.map(({ times }) => times)).toEqual([1, 1, 1]);
  });

  it("comes back after a loss, and catches up with what was said meanwhile", () => {
    moment = { atMs: MOMENT_MS, speed: 1 };
    last().serverSends({ message_type: "subscribed" });
    last().serverOpens();
    last().serverSends(alert(3, 1));
    moment = { atMs: MOMENT_MS + 20_000, speed: 1 };
    last().serverCloses(1013, "busy");
    clock.advance(1_000);
    expect(sockets).toHaveLength(3);
    expect(asked(last())).toEqual({ beforeS: 17, speed: "1000" });
    last().serverOpens();
    last().serverSends(alert(3, 1));
    last().serverSends(alert(9, 2));
    last().serverSends(alert(25, 3));
    expect(asked(last())).toEqual({ beforeS: 0, speed: "1" });
    settle();
    expect(told()).toEqual(["T-1", "T-2"]);
  });

  it("stands still when it is told to, and asks nothing any more when it is stopped", () => {
    moment = { atMs: MOMENT_MS, speed: 10 };
    last().serverSends({ message_type: "subscribed" });
    expect(sockets).toHaveLength(2);
    moment = { atMs: MOMENT_MS, speed: null };
    replay.goOn();
    expect(last().closed).toBe(true);
    replay.stop();
    clock.advance(60_000);
    expect(sockets).toHaveLength(2);
  });
});
