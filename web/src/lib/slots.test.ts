import { describe, expect, it } from "vitest";

import { Slots } from "./slots";

describe("slots", () => {
  it("of rows that stay are theirs wherever they go", () => {
    const slots = new Slots();
    expect(slots.of(["a", "b", "c"])).toEqual([0, 1, 2]);
    expect(slots.of(["c", "a", "b"])).toEqual([2, 0, 1]);
  });

  it("of a row that is scrolled out are those of the row that is scrolled in", () => {
    const slots = new Slots();
    slots.of(["a", "b", "c"]);
    expect(slots.of(["b", "c", "d"])).toEqual([1, 2, 0]);
    expect(slots.of(["a", "b", "c"])).toEqual([0, 1, 2]);
  });

  it("stay in their places when all rows are others", () => {
    const slots = new Slots();
    slots.of(["a", "b", "c"]);
    slots.of(["b", "c", "d"]);
    expect(slots.of(["x", "y", "z"])).toEqual([1, 2, 0]);
  });

  it("are never two rows' at a time, and no more than there are rows", () => {
    const slots = new Slots();
    let seed = 1;
    const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let turn = 0; turn < 2_000; turn += 1) {
      const first = random(40);
      const keys = Array.from({ length: 12 }, (_, at) => `${(first + at * (1 + random(2))) % 60}`);
      const rows = [...new Set(keys)];
      const found = slots.of(rows);
      expect(new Set(found).size).toBe(rows.length);
      expect(Math.max(...found)).toBeLessThan(24);
      expect(slots.of(rows)).toEqual(found);
    }
  });
});
