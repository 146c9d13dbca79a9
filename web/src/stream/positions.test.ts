import { describe, expect, it } from "vitest";

import source from "../../../src/wire/codes.rs?raw";
import { closeMeaning, detailOf } from "./codes";
import { Positions } from "./positions";

describe("positions", () => {
  it("reads what is a position and lets the rest be", () => {
    const positions = new Positions();
    positions.begin("abc:7,,bad,x y:1,~loc:2,abc:", { c: { epoch: "abc" } });
    expect(positions.token()).toBe("abc:7,~loc:2");
    expect(new Positions().known).toBe(false);
    for (const none of [undefined, null, 7, ""]) {
      positions.begin(none, {});
      expect(positions.known).toBe(false);
    }
  });

  it("replaces a numbering that began anew, and only that one", () => {
    const positions = new Positions();
    positions.begin("e:4,f:7", { c: { epoch: "e" }, d: { epoch: "f" } });
    positions.reach({ channel: "c", epoch: "~one", offset: 3 });
    positions.reach({ channel: "c", epoch: "~two", offset: 1 });
    expect(positions.token()).toBe("e:4,f:7,~two:1");
    positions.reach({ channel: "c", epoch: "g", offset: 1 });
    expect(positions.token()).toBe("f:7,~two:1,g:1");
    positions.restart("c", "h:9");
    expect(positions.token()).toBe("f:7,h:9");
  });

  it("remembers which channel a node's own numbering is of", () => {
    const positions = new Positions();
    positions.reach({ channel: "c", epoch: "~one", offset: 3 });
    positions.begin("e:4,~one:3", { c: { epoch: "e" } });
    positions.restart("c", "h:9");
    expect(positions.token()).toBe("h:9");
  });

  it("tells rows that leave something out from rows that do not", () => {
    const positions = new Positions();
    positions.begin("e:4,f:7,~l:1", {});
    expect(["e:4,f:7", "e:5,f:7", "e:3,f:7", "other:9"].map((token) => positions.continues(token))).toEqual([true, true, false, false]);
  });
});

describe("close codes", () => {
  const codes = [...source.matchAll(/Close::(\w+) => (\d{4}),/g)].map(([, name, code]) => ({ name: name!, code: Number(code) }));
  const reconnecting = /fn reconnect[^]*?matches!\(\w+, ([^)]*)\)/.exec(source)![1]!.split("|").map((name) => name.trim().replace("Close::", ""));

  it("mean what the server means by them", () => {
    const all = /ALL: \[Close; (\d+)\]/.exec(source)![1];
    expect(codes).toHaveLength(Number(all));
    for (const { name, code } of codes) {
      expect(closeMeaning(code).name, name).not.toBe("other");
      // The server sends 1000 only in answer to this page, which then listens no more; from anyone between, it is a loss.
      if (code !== 1000) expect(closeMeaning(code).reconnect, name).toBe(reconnecting.includes(name));
    }
  });

  it("of others lead to another attempt", () => {
    expect(closeMeaning(4999)).toEqual({ name: "other", reconnect: true });
  });

  it("carry details behind their names", () => {
    expect(detailOf("service restart; after_ms=250", "after_ms")).toBe("250");
    expect(detailOf("slow; since=a:1,b:2", "since")).toBe("a:1,b:2");
    expect([detailOf("slow", "since"), detailOf("", "since"), detailOf("since=", "since")]).toEqual([null, null, ""]);
  });
});
