import { describe, expect, it } from "vitest";

import { FakeClock } from "./fakes";
import { Frames } from "./frames";
import { toldAtMs } from "./messages";
import { Paced } from "./paced";
import { Rate } from "./rate";
import { isOlder, parseMs, parseNanos } from "./timestamp";

describe("timestamps", () => {
  it("compares beyond milliseconds", () => {
    expect(isOlder("2026-11-21T04:00:00.123456Z", "2026-11-21T04:00:00.123457Z")).toBe(true);
    expect(isOlder("2026-11-21T04:00:00.123457Z", "2026-11-21T04:00:00.123456Z")).toBe(false);
    expect(isOlder("2026-11-21T04:00:00Z", "2026-11-21T04:00:00.000Z")).toBe(false);
  });

  it("understands zones, and takes a time without one as UTC", () => {
    const utc = parseNanos("2026-11-21T04:00:00Z");
    expect(parseNanos("2026-11-21T13:00:00+09:00")).toBe(utc);
    expect(parseNanos("2026-11-21T13:00:00+0900")).toBe(utc);
    expect(parseNanos("2026-11-21T04:00:00")).toBe(utc);
    expect(parseNanos("2026-11-21 04:00:00.5")).toBe(utc! + 500_000_000n);
    expect(parseMs("2026-11-21T04:00:00.25Z")).toBe(Date.UTC(2026, 10, 21, 4, 0, 0, 250));
  });

  it("knows nothing from what is no time", () => {
    for (const bad of ["", "soon", null, 12, "2026-99-99T00:00:00Z"]) expect(parseNanos(bad)).toBeNull();
    expect(isOlder("soon", "2026-11-21T04:00:00Z")).toBe(false);
  });
});

describe("rate", () => {
  it("means the last three complete seconds and forgets after a minute", () => {
    const rate = new Rate();
    rate.add(10_000, 30);
    rate.add(11_500, 60);
    rate.add(12_900, 90);
    rate.add(13_100, 1000);
    expect(rate.perSecond(13_200)).toBe(60);
    expect(rate.series(13_200).at(-1)).toBe(90);
    expect(rate.perSecond(100_000)).toBe(0);
  });
});

describe("paced", () => {
  it("acts at once, then at most once in each period, and never forgets the last request", () => {
    const clock = new FakeClock();
    let acts = 0;
    const paced = new Paced(200, () => (acts += 1), clock);
    paced.ask();
    expect(acts).toBe(1);
    for (let i = 0; i < 50; i += 1) paced.ask();
    expect(acts).toBe(1);
    clock.advance(200);
    expect(acts).toBe(2);
    clock.advance(1000);
    expect(acts).toBe(2);
    paced.ask();
    expect(acts).toBe(3);
  });

  it("has a beat of its own, apart from the others", () => {
    const clock = new FakeClock();
    const at: number[] = [];
    const paced = new Paced(1_000, () => at.push(clock.now() % 1_000), clock, 250);
    clock.advance(10);
    for (let i = 0; i < 4_000; i += 10) {
      paced.ask();
      clock.advance(10);
    }
    expect(at).toEqual([10, 250, 250, 250, 250]);
  });
});

describe("frames", () => {
  it("applies everything of a frame in one batch", () => {
    const batches: number[][] = [];
    let run: (() => void) | null = null;
    const frames = new Frames<number>((batch) => batches.push(batch), (callback) => {
      run = callback;
      return () => (run = null);
    });
    for (let i = 0; i < 1000; i += 1) frames.push(i);
    expect(batches).toHaveLength(0);
    run!();
    expect(batches.map((b) => b.length)).toEqual([1000]);
    frames.flush();
    expect(batches).toHaveLength(1);
  });

  it("does not wait for a frame when too much has gathered", () => {
    const batches: number[][] = [];
    const frames = new Frames<number>((batch) => batches.push(batch), () => () => {}, 10);
    for (let i = 0; i < 25; i += 1) frames.push(i);
    expect(batches.map((b) => b.length)).toEqual([10, 10]);
  });
});

describe("what is told", () => {
  it("late is as old as it says, and otherwise of now, whatever clock its sender has", () => {
    const message = { timestamp: "2026-11-21T04:00:00.000Z" };
    const said = Date.parse(message.timestamp);
    expect(toldAtMs(message, said + 60_000)).toBe(said);
    expect(toldAtMs(message, said + 2_000)).toBe(said + 2_000);
    expect(toldAtMs(message, said - 60_000)).toBe(said - 60_000);
    expect(toldAtMs({}, 7)).toBe(7);
  });
});
