// Proves that the page loses nothing when a server does: killed, restarted, drained, cut off from Redis, off line.
//   node e2e/recovery.mjs BASE_URL OTHER_URL
// Both are nodes on one Redis. What it wants done to them it writes as a line that begins with "do:", and goes on when a
// line comes back on its standard input; so a test can drive it, and a person too.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";

import { launch } from "./browser.mjs";

const [base, other] = process.argv.slice(2);
if (!other) {
  console.error("usage: node e2e/recovery.mjs BASE_URL OTHER_URL");
  process.exit(2);
}

const PATIENCE_MS = 20_000;
const UPDATES = "inventory:updates";
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let step = "start a browser";

function say(next) {
  step = next;
  console.log(`· ${next}`);
}

async function have(done) {
  console.log(`do:${done}`);
  if ((await lines.next()).done) throw new Error(`nobody did: ${done}`);
}

async function post(url, path, body) {
  const response = await fetch(`${url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.ok(response.ok, `POST ${path} answered ${response.status}`);
  return response.json();
}

/** By the other node, so that it works while the page's own is away. */
const publish = (channel, data) => post(other, "/api/publish", { channel, data });

let cells = 0;
async function learn(count) {
  for (let i = 0; i < count; i += 1) await publish("progress:events", { eventType: "cell_executed", userName: "Mia", cellIndex: (cells += 1) });
}

const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  // When the page connects and what it is told, by its own clock: what comes over the debugging port comes late.
  await page.addInitScript(() => {
    const log = (window.__streams = []);
    window.WebSocket = class extends window.WebSocket {
      constructor(url) {
        super(url);
        const { pathname, searchParams } = new URL(url);
        const stream = { path: pathname, begin: [...searchParams.keys()].filter((name) => name !== "max_hz").join(), atMs: performance.now(), slot: null };
        log.push(stream);
        this.addEventListener("message", ({ data }) => {
          if (!data.includes('"reconnect"')) return;
          const message = JSON.parse(data);
          if (message.message_type === "reconnect") stream.slot = { atMs: performance.now(), afterMs: message.after_ms };
        });
      }
    };
  });
  const streams = () => page.evaluate(() => window.__streams);
  const state = (feed, name) => page.getAttribute(`[data-feed-state="${feed}"]`, `data-${name}`);
  const until = (feed, phase) => page.waitForSelector(`[data-feed-state="${feed}"][data-phase="${phase}"]`, { state: "attached" });
  const allLive = async () => {
    for (const feed of ["inventory", "price", "progress", "match", "general"]) await until(feed, "live");
    await page.waitForSelector(".dim", { state: "detached" });
  };
  /** The lane shows the newest first, and each once. */
  const learned = async () => {
    const expected = Array.from({ length: cells }, (_, index) => cells - index).slice(0, 40);
    const shown = () => page.locator("#learning li .place").evaluateAll((all) => all.map((place) => Number(/\d+/.exec(place.textContent)[0])));
    await eventually(async () => assert.deepEqual(await shown(), expected));
  };
  const noGap = async () => {
    // The status bar is read once a second.
    await page.waitForTimeout(1_100);
    for (const feed of ["inventory", "progress"]) assert.equal(await state(feed, "gaps"), "0", `${feed} had a gap`);
  };

  say("open the page, which begins with the rows");
  const item = await post(base, "/api/v1/inventory", { sku: "E2E-1", name: "Recovered", category: "test", stock_quantity: 40, min_stock_level: 7 });
  await page.goto(base);
  await allLive();
  const row = page.locator('tr[data-sku="E2E-1"] [data-field="stock"]');
  const stock = (value) => eventually(async () => assert.equal(await row.getAttribute("data-value"), String(value)));
  /** A message past the database, so that only the stream can bring it and only the rows can undo it. */
  const sold = (left) =>
    publish(UPDATES, { message_type: "inventory_update", action: "updated", item_id: item.id, sku: item.sku, stock_quantity: left, available_quantity: left });
  await stock(40);
  assert.deepEqual((await streams()).map((s) => s.begin).sort(), ["positions", "positions", "positions", "snapshot", "snapshot"]);
  await learn(3);
  await learned();

  say("kill its server, change things meanwhile, and start it again: nothing is lost, nothing comes twice");
  await have("kill first");
  await page.waitForSelector('#inventory[data-phase="waiting"] .dim');
  await learn(30);
  for (let left = 39; left >= 31; left -= 1) await sold(left);
  await have("start first");
  await allLive();
  await learned();
  await stock(31);
  await noGap();
  assert.ok(Number(await state("progress", "recovered")) >= 30 && Number(await state("inventory", "recovered")) >= 9, "nothing was recovered");

  say("off line and back: the same");
  await context.setOffline(true);
  await until("inventory", "offline");
  await learn(2);
  await sold(30);
  await context.setOffline(false);
  await allLive();
  await learned();
  await stock(30);
  await noGap();

  say("drain its server: each feed comes back at the moment it was given, and loses nothing");
  const before = (await streams()).length;
  await have("terminate first");
  await eventually(async () => assert.ok((await streams()).length >= before + 5, "not every feed has tried again"));
  const all = await streams();
  const lateness = all.slice(0, before).flatMap((stream) => {
    if (!stream.slot) return [];
    const next = all.slice(before).find((again) => again.path === stream.path);
    return [next.atMs - stream.slot.atMs - stream.slot.afterMs];
  });
  assert.equal(lateness.length, 5, "not every feed was given a moment");
  // Without a given moment it would be a quarter of a second or more. Only the quickest is free of this machine's load.
  assert.ok(Math.min(...lateness) >= -2 && Math.min(...lateness) < 150, `late by ${lateness} ms`);
  await learn(2);
  await sold(29);
  await have("start first");
  await allLive();
  await learned();
  await stock(29);
  await noGap();
  assert.ok((await streams()).slice(5).every((stream) => stream.begin === "since"), "rows were loaded anew without need");

  say("freeze Redis: the tiles grey out by themselves, and are live again when it thaws");
  await have("freeze redis");
  await until("inventory", "stale");
  await page.waitForSelector("#inventory .dim");
  await page.getByText("Silent", { exact: true }).first().waitFor();
  await have("thaw redis");
  await allLive();
  await learn(1);
  await sold(28);
  await learned();
  await stock(28);

  say("restart Redis empty: the gap is said, and the rows are loaded anew");
  await have("restart redis");
  await eventually(async () => assert.notEqual(await state("inventory", "gaps"), "0"));
  await eventually(async () => assert.ok((await streams()).slice(5).some((stream) => stream.begin === "snapshot")));
  await allLive();
  await stock(40);
  await learn(1);
  await learned();

  assert.deepEqual(faults, []);
  console.log("nothing was lost");
} catch (error) {
  console.error(`FAILED to ${step}: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}

async function eventually(holds) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await holds();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
