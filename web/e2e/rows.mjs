// Proves that of a large shop only the rows on the screen are subscribed to, and that the page is right all the same:
//   node e2e/rows.mjs BASE_URL
import assert from "node:assert/strict";

import { launch } from "./browser.mjs";

const base = process.argv[2];
if (!base) {
  console.error("usage: node e2e/rows.mjs BASE_URL");
  process.exit(2);
}
const ITEMS = 700;
const MOST_ROWS = 160;
const sku = (n) => `ROW-${String(n).padStart(4, "0")}`;
let step = "start a browser";
const say = (next) => console.log(`· ${(step = next)}`);

async function api(method, path, body) {
  const response = await fetch(`${base}${path}`, { method, headers: { "content-type": "application/json" }, ...(body ? { body: JSON.stringify(body) } : {}) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path} answered ${response.status}: ${text}`);
  return text ? JSON.parse(text) : null;
}

async function eventually(what, holds) {
  const end = Date.now() + 30_000;
  for (let last; ; ) {
    try {
      return await holds();
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: ${last.message}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

const browser = await launch();
try {
  say("seed a shop");
  const ids = new Map();
  const numbers = Array.from({ length: ITEMS }, (_, n) => n).values();
  await Promise.all(Array.from({ length: 6 }, async () => {
    for (const n of numbers) ids.set(sku(n), (await api("POST", "/api/v1/inventory", { sku: sku(n), name: `Row ${n}`, category: "Rows", stock_quantity: 50, min_stock_level: 5 })).id);
  }));
  const sell = (n, delta) => api("POST", `/api/v1/inventory/${ids.get(sku(n))}/adjust`, { delta });

  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" })).newPage();
  page.setDefaultTimeout(30_000);
  const streams = [];
  page.on("websocket", (socket) => {
    if (!socket.url().includes("/ws/inventory")) return;
    const url = new URL(socket.url());
    const stream = { query: url.searchParams, skus: url.searchParams.get("sku")?.split(",") ?? null, frames: [], closed: false };
    streams.push(stream);
    socket.on("framereceived", ({ payload }) => stream.frames.push(String(payload)));
    socket.on("close", () => (stream.closed = true));
  });
  const last = () => streams.at(-1);
  const told = (n) => streams.some((stream) => stream.frames.some((frame) => frame.includes(`"${sku(n)}"`) && frame.includes("inventory_update")));
  const shows = (n, stock) => eventually(`stock of ${sku(n)}`, async () => assert.equal(await page.getAttribute(`tr[data-sku="${sku(n)}"] [data-field="stock"]`, "data-value", { timeout: 500 }), String(stock)));

  say("the page begins with all rows, and goes on with those that are seen");
  await page.goto(`${base}/inventory`);
  await page.waitForSelector('#inventory[data-phase="live"]');
  await eventually("a part is subscribed to", async () => assert.ok(last().skus, "all rows are"));
  assert.equal(streams[0].query.get("snapshot"), "true");
  assert.ok(last().query.get("since"), "it does not go on by position");
  assert.ok(last().skus.length <= MOST_ROWS && last().skus.includes(sku(0)) && !last().skus.includes(sku(ITEMS - 1)), last().skus.join());
  await eventually("the whole stream is let go of", async () => assert.ok(streams[0].closed));

  say("what is seen is told, what is not seen is not");
  const away = ITEMS - 3;
  await sell(away, -7);
  await sell(1, -4);
  await shows(1, 46);
  assert.ok(told(1) && !told(away), "rows out of sight are told");

  say("rows that come into view are as they are now, and are followed from there");
  const before = streams.length;
  const lane = page.locator("#inventory .lane");
  await lane.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
  await eventually("others are subscribed to", async () => assert.ok(streams.length > before && last().skus?.includes(sku(away))));
  assert.ok(last().query.get("since") && !last().skus.includes(sku(0)));
  await shows(away, 43);
  await sell(away, -3);
  await shows(away, 40);
  assert.ok(told(away));
  assert.equal(await page.locator('[data-feed-state="inventory"]').getAttribute("data-gaps"), "0");

  say("what is out, low and new elsewhere is known all the same");
  await sell(2, -50);
  await page.locator("#out li", { hasText: sku(2) }).waitFor();
  await page.locator("#alerts li", { hasText: sku(2) }).waitFor();
  await api("POST", "/api/v1/inventory", { sku: "ROW-NEW", name: "Row that is new", category: "Rows", stock_quantity: 9, min_stock_level: 1 });
  await page.locator(`[data-total="${ITEMS + 1}"]`).waitFor();

  say("an order that any change can move needs all rows");
  await page.locator("#inventory th.stock button").click();
  await eventually("all are subscribed to", async () => assert.ok(last().skus === null && last().query.get("snapshot") === "true"));
  await page.locator("#inventory th.stock button").click();
  await shows(2, 0);
  await sell(ITEMS - 9, -49);
  await shows(ITEMS - 9, 1);

  say("a hidden tab hears nothing, and goes on by position");
  await page.locator("#inventory th.sku button").click();
  await eventually("a part is subscribed to again", async () => assert.ok(last().skus));
  const hide = (hidden) => page.evaluate((is) => {
    Object.defineProperty(document, "hidden", { value: is, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await eventually("no stream is left", async () => assert.ok(streams.every((stream) => stream.closed)));
  const rested = streams.length;
  await sell(0, -5);
  await hide(false);
  await shows(0, 45);
  assert.ok(streams.length > rested && last().query.get("since") && last().skus);
  console.log("only what is seen is subscribed to");
} catch (error) {
  console.error(`FAILED to ${step}: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
