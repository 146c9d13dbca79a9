import { describe, expect, it, vi } from "vitest";

import { ApiError } from "../api";
import { t } from "../lib/i18n.svelte";
import { en } from "../lib/words/en";
import { ja } from "../lib/words/ja";
import { pageAt, pathOf, PAGES } from "../lib/router.svelte";
import { aligned, relative } from "../ui/chart";
import { asOf, Batches, rateOf, remainingMs } from "./batches";
import { Classroom, errorKind, type MatrixAnswer, type StudentAnswer } from "./class";
import { buckets, figuresOf, parseMetrics, quantile, sum } from "./figures";
import { Import } from "./import.svelte";
import { Trails } from "./trails.svelte";
import { decode, lacksSku, parseRows } from "./rows";
import { framed } from "./mail";
import { Past, pointAt, priceAt, stepMsOf, stepOf, type PriceChange } from "./past";
import { Travel } from "./travel.svelte";

const point = (atMs: number, last: number) => ({ atMs, min: last, max: last, last });

describe("words", () => {
  const placeholders = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

  it("are the same in both languages, with the same places for values, and none is empty", () => {
    expect(Object.keys(ja).sort()).toEqual(Object.keys(en).sort());
    for (const [key, text] of Object.entries(en)) {
      const other = ja[key as keyof typeof ja];
      expect(other, key).not.toBe("");
      expect(placeholders(other), key).toEqual(placeholders(text));
    }
  });

  it("count one as one", () => {
    expect(t("messages", { n: "1" })).toBe("1 message");
    expect(t("messages", { n: "1,200" })).toBe("1,200 messages");
    expect(t("matrixSize", { students: 0, cells: 1 })).toBe("0 students, 1 cell");
  });

  it("are translated: what is alike in both is meant to be", () => {
    const alike = Object.entries(en).filter(([key, text]) => ja[key as keyof typeof ja] === text && !/^(sku)$/.test(key));
    expect(alike).toEqual([]);
  });

  it("are all used somewhere, and all that is used is there", () => {
    const files = import.meta.glob<string>("/src/**/*.{svelte,ts}", { query: "?raw", import: "default", eager: true });
    const sources = Object.entries(files).filter(([path]) => !/words|test/.test(path)).map(([, text]) => text).join("\n");
    // Names that are put together, or come from the server.
    const open = /^(signal_|b_|c_|q_|section_|fate_)|^(admin|manager|user|created|updated|approved|deleted|rejected|healthy|degraded|unhealthy|up|down|broker|database|series|queued|running|completed|done|pending|processing|cancelled|failed|opened|saved|executed|help|helpEnd)$/;
    const unused = Object.keys(en).filter((key) => !open.test(key) && !new RegExp(`["'\`]${key}["'\`]|\\b${key}:`).test(sources));
    expect(unused).toEqual([]);
  });
});

describe("addresses", () => {
  it("lead to pages and back, and what is unknown to the first", () => {
    for (const page of PAGES) expect(pageAt(pathOf(page))).toBe(page);
    expect(pageAt("/nothing/here")).toBe("overview");
    expect(pageAt("/inventory/")).toBe("inventory");
  });
});

describe("the past", () => {
  it("is the last point at or before a moment", () => {
    const curve = [point(10, 1), point(20, 2), point(30, 3)];
    expect(pointAt(curve, 9)).toBeNull();
    expect([10, 19, 20, 99].map((at) => pointAt(curve, at)!.last)).toEqual([1, 1, 2, 3]);
  });

  it("of a price is what the first change since then says it was", () => {
    const change = (atMs: number, oldPrice: number | null): PriceChange => ({ id: atMs, inventoryKey: "1", currency: null, times: 1, oldPrice, newPrice: 0, percent: null, type: "updated", by: "", reason: null, atMs });
    const changes = [change(30, 120), change(20, 100), change(10, null)];
    expect(priceAt(changes, 25)).toBe(120);
    expect(priceAt(changes, 15)).toBe(100);
    expect(priceAt(changes, 5)).toBeNull();
    expect(priceAt(changes, 30)).toBeUndefined();
  });

  it("is asked for in steps that the store has rolled up when the span is long", () => {
    expect([stepOf(60_000), stepOf(30 * 60_000), stepOf(24 * 3_600_000), stepOf(90 * 86_400_000)]).toEqual(["1s", "8s", "6m", "9h"]);
    expect([stepMsOf(60_000), stepMsOf(30 * 60_000), stepMsOf(24 * 3_600_000)]).toEqual([1_000, 8_000, 360_000]);
  });

  it("asks the same once, a few things at a time, and again after a failure", async () => {
    let [asked, busy, most] = [0, 0, 0];
    let fails = true;
    const past = new Past(async <T>(path: string): Promise<T> => {
      asked += 1;
      busy += 1;
      most = Math.max(most, busy);
      await Promise.resolve();
      busy -= 1;
      if (path.includes("BAD") && fails) throw new Error("away");
      return { points: [{ at: "2026-11-21T07:00:00Z", min: 1, max: 3, last: 2 }] } as T;
    });
    const skus = Array.from({ length: 20 }, (_, i) => `S-${i}`);
    const curves = await Promise.all([...skus, "S-1", "S-2"].map((sku) => past.stock(sku, 0, 60_000)));
    expect(curves[0]).toEqual([{ atMs: Date.parse("2026-11-21T07:00:00Z"), min: 1, max: 3, last: 2 }]);
    expect(asked).toBe(20);
    expect(most).toBeLessThanOrEqual(5);
    await expect(past.stock("BAD", 0, 60_000)).rejects.toThrow("away");
    fails = false;
    await expect(past.stock("BAD", 0, 60_000)).resolves.toHaveLength(1);
  });
});

describe("a travel", () => {
  it("plays at its speed and ends in the present", () => {
    const travel = new Travel();
    travel.begin(1_000_000_000);
    travel.to(1_000_000_000 - 60_000, 1_000_000_000);
    expect(travel.isPast).toBe(true);
    travel.speed = 10;
    travel.advance(1_000, 1_000_001_000);
    expect(travel.atMs).toBe(1_000_000_000 - 50_000);
    travel.advance(10_000, 1_000_011_000);
    expect(travel.isPast).toBe(false);
  });

  it("does not go beyond its slider", () => {
    const travel = new Travel();
    travel.begin(1_000_000_000);
    travel.to(5, 1_000_000_000);
    expect(travel.atMs).toBe(travel.startMs);
    travel.to(2_000_000_000, 1_000_000_500);
    expect(travel.atMs).toBe(1_000_000_500);
  });
});

describe("charts", () => {
  it("align lines on one column of times; stairs go on to the end", () => {
    const lines = [
      { key: "a", label: "a", color: 0, points: [point(1_000, 5), point(3_000, 6)], stairs: true },
      { key: "b", label: "b", color: 1, points: [point(2_000, 1)] },
    ];
    const [xs, a, , , b] = aligned(lines, { fromMs: 0, toMs: 4_000 });
    expect(xs).toEqual([1, 2, 3, 4]);
    expect(a).toEqual([5, undefined, 6, 6]);
    expect([...b!]).toEqual([undefined, 1, undefined, undefined]);
  });

  it("end stairs with the value of that moment, not with what came after", () => {
    const line = { key: "a", label: "a", color: 0, points: [point(1_000, 5), point(9_000, 7)], stairs: true };
    const [xs, a] = aligned([line], { fromMs: 0, toMs: 4_000 });
    expect(a![xs!.indexOf(4)]).toBe(5);
    const [later, b] = aligned([line], { fromMs: 2_000, toMs: 4_000 });
    expect(b![later!.indexOf(2)]).toBe(5);
  });

  it("compare lines of any height by percent since the beginning", () => {
    const [line] = relative([{ key: "a", label: "a", color: 0, points: [point(1, 50), point(5, 200), point(9, 100)] }], { fromMs: 5, toMs: 9 });
    expect(line!.points.map(({ last }) => last)).toEqual([-75, 0, -50]);
  });
});

describe("a class", () => {
  const matrix: MatrixAnswer = {
    notebook: "n", cells: [{ cell_id: "c1", cell_index: 0 }, { cell_id: "c2", cell_index: 1 }],
    items: [{ user_id: "a", name: "Ann", solved: 1, cells: [{ status: "solved", runs: 1, errors: 0 }, null] }],
  };
  const student = (user_id: string, fields: Partial<StudentAnswer> = {}): StudentAnswer => ({
    user_id, name: user_id.toUpperCase(), email: null, team: null, class: "1", notebook: "n", cell_id: "c1", last_event_at: "", errors_in_row: 0,
    is_stuck: false, is_failing: false, is_asking: false, is_idle: false, ...fields,
  });
  const run = (userId: string, cellId: string, status: string, signals = {}) => ({ message_type: "progress_event", userId, notebookPath: "n", cellId, cellIndex: 1, status, signals });

  it("fills as events come, and a cell that was solved stays so", () => {
    const room = Classroom.of(matrix, [student("a"), student("b")]);
    expect(room.apply(run("a", "c2", "error"), 5)).toBe(false);
    expect(room.get("a")).toMatchObject({ solved: 1, at: 1 });
    expect(room.get("a")!.cells[1]).toMatchObject({ mark: "failed", errors: 1, changedAtMs: 5 });
    room.apply(run("a", "c2", "success"), 6);
    room.apply(run("a", "c2", "error"), 7);
    expect(room.get("a")).toMatchObject({ solved: 2 });
    expect(room.get("a")!.cells[1]!.mark).toBe("solved");
  });

  it("learns of new students and cells from the feed", () => {
    const room = Classroom.of(matrix, [student("a")]);
    expect(room.apply(run("z", "c9", "success"), 1)).toBe(true);
    expect(room.columns.map(({ id }) => id)).toEqual(["c1", "c2", "c9"]);
    expect(room.get("z")!.cells[2]!.mark).toBe("solved");
  });

  it("shows who needs somebody first, and hears signals go on and off", () => {
    const room = Classroom.of(matrix, [student("a"), student("b", { is_stuck: true }), student("c", { is_asking: true }), student("d", { class: "2" })]);
    expect(room.view(null, null, "")).toEqual(["c", "b", "a", "d"]);
    expect(room.view("stuck", null, "")).toEqual(["b"]);
    expect(room.view(null, "2", "")).toEqual(["d"]);
    room.apply({ message_type: "progress_signal", userId: "b", signal: "stuck", active: false }, 1);
    room.apply({ message_type: "progress_signal", userId: "a", signal: "failing", active: true }, 1);
    expect(room.tally(null)).toEqual({ students: 4, help: 1, failing: 1, stuck: 0, idle: 0 });
  });

  it("puts errors together that differ in names only", () => {
    expect(errorKind("NameError: name 'df' is not defined")).toBe(errorKind("NameError: name 'x1' is not defined"));
  });
});

describe("batches", () => {
  const batch = (fields = {}) => ({ batch_id: 7, batch_type: "daily_matching", state: "running", processed: 0, total: 1_000, failed: 0, created_at: "2026-11-21T07:00:00Z", ...fields });
  const begun = Date.parse("2026-11-21T07:00:00Z");

  it("have a rate of late and a time that remains", () => {
    const batches = new Batches();
    batches.put(batch(), begun);
    for (let second = 1; second <= 4; second += 1) batches.apply({ ...batch({ processed: second * 100 }), message_type: "batch_progress" }, begun + second * 1_000);
    const row = batches.rows()[0]!;
    expect(rateOf(row, begun + 4_000)).toBeCloseTo(100);
    expect(remainingMs(row, begun + 4_000)).toBeCloseTo(6_000);
  });

  it("are not turned back by an answer that was under way", () => {
    const batches = new Batches();
    batches.apply({ ...batch({ processed: 1_000, state: "completed" }), message_type: "batch_progress" }, begun);
    batches.put(batch({ processed: 900 }), begun);
    expect(batches.rows()[0]).toMatchObject({ state: "completed", processed: 1_000 });
  });

  it("stand in the past as far as is known", () => {
    const batches = new Batches();
    batches.put(batch({ processed: 1_000, state: "completed", finished_at: "2026-11-21T07:01:00Z" }), begun + 90_000);
    const row = batches.rows()[0]!;
    expect(asOf(row, begun - 1)).toBeNull();
    expect(asOf(row, begun + 30_000)).toMatchObject({ state: "running" });
    expect(asOf(row, begun + 61_000)).toMatchObject({ state: "completed", processed: 1_000 });
  });
});

describe("figures", () => {
  const text = (total: number, fast: number, all: number) =>
    `# TYPE fanfare_deliveries counter\nfanfare_deliveries_total ${total}\nfanfare_websocket_connections{feed="price"} 2\nfanfare_websocket_connections{feed="inventory"} 3\n` +
    `fanfare_queue_items_pending{topic="alert",state="dead"} 1\nfanfare_queue_items_pending{topic="alert",state="pending"} 4\n` +
    `fanfare_delivery_latency_seconds_bucket{le="0.001"} ${fast}\nfanfare_delivery_latency_seconds_bucket{le="0.01"} ${all}\nfanfare_delivery_latency_seconds_bucket{le="+Inf"} ${all}\n# EOF\n`;

  it("are read from OpenMetrics, labels and all", () => {
    const samples = parseMetrics('a_total{x="1 \\"q\\" } 2",y="z"} 4 123\nb NaN\nbroken\n');
    expect(samples.get("a_total")).toEqual([{ labels: { x: '1 "q" } 2', y: "z" }, value: 4 }]);
    expect(sum(samples, "missing")).toBeNull();
  });

  it("make rates of counters and quantiles of histograms", () => {
    const [before, now] = [parseMetrics(text(100, 10, 10)), parseMetrics(text(300, 100, 110))];
    const figures = figuresOf(now, 3_000, before, 1_000, buckets(before, "fanfare_delivery_latency_seconds"));
    expect(figures).toMatchObject({ connections: 5, deliveriesPerSecond: 100, queues: [{ topic: "alert", pending: 4, dead: 1 }] });
    expect(figures.p50).toBeCloseTo(0.00055, 4);
    expect(figures.p99).toBeGreaterThan(0.008);
  });

  it("say nothing rather than something wrong: no counts, or a process that began anew", () => {
    expect(quantile([[1, 5], [Infinity, 5]], [[1, 5], [Infinity, 5]], 0.5)).toBeNull();
    expect(figuresOf(parseMetrics(text(5, 0, 0)), 3_000, parseMetrics(text(300, 0, 0)), 1_000, null).deliveriesPerSecond).toBeNull();
  });
});

describe("the stock of a moment", () => {
  it("is what it was then, and not how the step of its course ended", async () => {
    const point = (atMs: number, last: number) => ({ atMs, min: last, max: last, last });
    // Two steps of six minutes: in the second one it fell from 40 to 10 in its fifth minute.
    const step = 360_000;
    const begin = 720_000 * 2;
    const source = {
      stock: async () => [point(begin - step, 40), point(begin, 10)],
      stockInDetail: async (_: string, fromMs: number, toMs: number) => (expect([fromMs, toMs]).toEqual([begin, begin + 720_000]), [point(begin + 240_000, 10)]),
      stockBefore: async () => 55,
    };
    const trails = new Trails(24 * 3_600_000, source as never);
    const item = { key: "1", sku: "A-1", stock: 10 } as never;
    trails.see([item], begin);
    await vi.waitFor(() => expect(trails.isKnown("1")).toBe(true));
    const moments = [begin - step - 1, begin - 1, begin + 239_000, begin + 240_000];
    trails.look([item], begin + 1);
    await vi.waitFor(() => expect(moments.map((atMs) => trails.at(item, atMs))).toEqual([55, 40, 40, 10]));
  });
});

describe("an import", () => {
  const rowsOf = (...skus: string[]) => skus.map((sku, i) => ({ line: i + 2, fields: { sku } }));

  it("reads what spreadsheets write", () => {
    const rows = parseRows('\uFEFFSKU,name,stock_quantity\r\nA-1,"Tea, ""green""",5\r\n\r\nA-2,"two\nlines",\r\n');
    expect(rows).toEqual([
      { line: 2, fields: { sku: "A-1", name: 'Tea, "green"', stock_quantity: 5 } },
      { line: 4, fields: { sku: "A-2", name: "two\nlines" } },
    ]);
    expect(parseRows('{"sku":"A-1"}\n\nnonsense')).toEqual([{ line: 1, fields: { sku: "A-1" } }, { line: 3, fields: null }]);
  });

  it("reads what is copied, what other countries write, and lists", () => {
    const row = { line: 2, fields: { sku: "A-1", stock_quantity: 1200, is_active: false } };
    expect(parseRows("sku\tstock_quantity\tis_active\nA-1\t1,200\tFALSE")).toEqual([row]);
    expect(parseRows('sku;stock_quantity;is_active\nA-1;"1,200";false')).toEqual([row]);
    expect(parseRows('[{"sku":"A-1"},\n5]')).toEqual([{ line: 1, fields: { sku: "A-1" } }, { line: 2, fields: null }]);
    expect(parseRows('[{"sku":')).toEqual([{ line: 1, fields: null }]);
    expect([lacksSku(parseRows("code,name\nA-1,Tea")), lacksSku(parseRows("SKU,name\nA-1,Tea\n,Nameless"))]).toEqual([true, false]);
  });

  it("reads files in the encodings of spreadsheets", () => {
    const bytes = (...all: number[]) => new Uint8Array(all).buffer;
    expect(decode(new TextEncoder().encode("\uFEFF茶").buffer, false)).toEqual({ text: "茶", encoding: null });
    expect(decode(bytes(0xff, 0xfe, 0x36, 0x83), false)).toEqual({ text: "茶", encoding: "UTF-16" });
    expect(decode(bytes(0x82, 0xa8, 0x92, 0x83), false)).toEqual({ text: "お茶", encoding: "Shift_JIS" });
    expect(decode(bytes(0x92, 0x83), true)).toEqual({ text: "茶", encoding: "Shift_JIS" });
    expect(decode(bytes(0x54, 0x68, 0xe9, 0x2c), false)).toEqual({ text: "Thé,", encoding: "Windows-1252" });
  });

  it("counts, updates what is known, names what is refused, and waits when it is too quick", async () => {
    const sent: string[] = [];
    let limited = true;
    const send = async (method: string, path: string, body?: unknown) => {
      const { sku } = body as { sku: string };
      if (sku === "A-2" && limited) {
        limited = false;
        throw new ApiError(429, {}, 10);
      }
      if (sku === "A-3") throw new ApiError(422, { errors: [{ field: "name", message: "is missing" }] });
      sent.push(`${method} ${path} ${sku}`);
      return undefined as never;
    };
    const run = new Import(send as never, async () => {});
    await run.run(rowsOf("A-1", "A-2", "A-3"), (sku) => (sku === "A-1" ? 9 : undefined));
    expect(run).toMatchObject({ total: 3, done: 3, created: 1, updated: 1, failed: 1, running: false });
    expect(run.refusals).toEqual([{ line: 4, reason: "name: is missing" }]);
    expect(sent.sort()).toEqual(["PATCH /api/v1/inventory/9 A-1", "POST /api/v1/inventory A-2"]);
  });

  it("stops when the server is gone, goes on from there, and overwrites what was written without an answer", async () => {
    let gone = true;
    const sent: string[] = [];
    const send = async (method: string, path: string, body?: unknown) => {
      const { sku } = body as { sku: string };
      if (sku !== "A-1" && gone) throw new TypeError("Failed to fetch");
      if (sku === "A-2" && method === "POST") throw new ApiError(409, {});
      sent.push(`${method} ${path} ${sku}`);
      return undefined as never;
    };
    const run = new Import(send as never, async () => {}, async () => 7);
    await run.run(rowsOf("A-1", "A-2", "A-3", "A-4", "A-5", "A-6"), () => undefined);
    expect(run).toMatchObject({ total: 6, done: 1, failed: 0, running: false });
    expect(run.problem).not.toBe("");
    gone = false;
    await run.goOn(() => undefined);
    expect(run).toMatchObject({ done: 6, created: 5, updated: 1, failed: 0, problem: "" });
    expect(sent).toContain("PATCH /api/v1/inventory/7 A-2");
  });

  it("takes the last of two rows of one item, and names what it cannot read", async () => {
    const sent: unknown[] = [];
    const run = new Import((async (_: string, __: string, body: unknown) => void sent.push(body)) as never);
    await run.run([...rowsOf("A-1", "a-1"), { line: 9, fields: null }], () => undefined);
    expect(sent).toEqual([{ sku: "a-1" }]);
    expect(run.refusals.map(({ line }) => line)).toEqual([2, 9]);
    expect(run).toMatchObject({ total: 3, done: 3, created: 1, failed: 2 });
  });
});

describe("a mail", () => {
  it("loses what runs and keeps its styles for later", () => {
    const { html, sheets } = framed('<style>p{color:red}</style><script>alert(1)</script><p style="margin:0" onclick="x()">Hi</p><base href="//x">');
    expect(sheets).toEqual(["p{color:red}"]);
    expect(html).toBe('<p data-style="margin:0">Hi</p>');
  });
});
