// What the page does when it is used, against the mock server: keyboard, memory of choices, loss and return of the
// connection, gaps, errors. Ends with 1 and the first thing that did not hold.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { launch } from "../e2e/browser.mjs";

async function mock(...args) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("mock.mjs", import.meta.url)), "--port=0", ...args]);
  const base = /http:\S+/.exec(String((await once(child.stdout, "data"))[0]))[0];
  return { base, stop: () => child.kill() };
}

const browser = await launch();
const quiet = await mock("--items=400", "--rate=0");
const secret = await mock("--items=20", "--rate=0", "--token=s3cret");
const post = (path, data) => fetch(`${quiet.base}${path}`, { method: "POST", body: JSON.stringify(data ?? {}) });

try {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  const live = () => page.waitForSelector('#inventory[data-phase="live"]');
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("data-index"));
  // Rows that were out of view come with the next frame.
  const focuses = (index) => page.waitForFunction((wanted) => document.activeElement?.getAttribute("data-index") === wanted, index, { timeout: 3_000 });
  await page.goto(quiet.base);
  await live();

  console.log("· a long table is windowed, and the keyboard walks it from end to end");
  assert.ok((await page.locator("tr[data-sku]").count()) < 80);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("type")), "search");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), "0");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), "1");
  await page.keyboard.press("End");
  await focuses("399");
  await page.keyboard.press("PageUp");
  assert.ok(Number(await focused()) < 399);
  await page.keyboard.press("Home");
  await focuses("0");

  console.log("· plus and minus adjust, clicks are gathered, refusals are told and undone");
  const rows = page.locator("tr[data-sku]");
  const value = async (row) => Number(await row.locator('[data-field="stock"]').getAttribute("data-value"));
  // The mock refuses items whose number ends in 3.
  const first = rows.nth(/3$/.test(await rows.nth(0).getAttribute("data-sku")) ? 1 : 0);
  const before = await value(first);
  const requests = [];
  page.on("request", (request) => request.url().endsWith("/adjust") && requests.push(request.postData()));
  await first.focus();
  for (let i = 0; i < 5; i += 1) await page.keyboard.press("+");
  await page.keyboard.press("-");
  assert.equal(await value(first), before + 4);
  await page.waitForResponse((response) => response.url().endsWith("/adjust"));
  await page.waitForSelector(".pending", { state: "detached" });
  assert.deepEqual(requests, ['{"delta":4}']);
  assert.equal(await value(first), before + 4);
  await page.locator("input[type=search]").fill("1013");
  const stubborn = page.locator('tr[data-sku$="3"]').first();
  const kept = await value(stubborn);
  await stubborn.locator("button").nth(1).click();
  await page.getByRole("alert").getByText("this item is being counted").waitFor();
  assert.equal(await value(stubborn), kept);
  await page.locator("input[type=search]").fill("");

  console.log("· sorting and searching");
  await page.getByRole("button", { name: "Stock", exact: true }).click();
  assert.equal(await page.locator("th.stock").getAttribute("aria-sort"), "descending");
  const stocks = await page.locator('tr[data-sku] [data-field="stock"]').evaluateAll((cells) => cells.map((cell) => Number(cell.dataset.value)));
  assert.deepEqual(stocks, [...stocks].sort((a, b) => b - a));
  await page.locator("input[type=search]").fill("1004");
  await page.waitForFunction(() => document.querySelectorAll("tr[data-sku]").length === 1);
  await page.keyboard.press("Escape");

  console.log("· theme and language are remembered");
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: "日本語で表示" }).click();
  await page.reload();
  await live();
  assert.deepEqual(await page.evaluate(() => [document.documentElement.dataset.theme, document.documentElement.lang]), ["dark", "ja"]);
  await page.getByRole("heading", { name: "在庫" }).waitFor();
  await page.getByRole("button", { name: "Show in English" }).click();

  console.log("· a lost connection greys out its tiles, tells its code, comes back and catches up");
  const sku = await page.locator("tr[data-sku]").nth(5).getAttribute("data-sku");
  const id = await page.locator("tr[data-sku]").nth(5).getAttribute("data-id");
  const was = await value(page.locator(`tr[data-sku="${sku}"]`));
  await post("/mock/down?ms=1200");
  await page.waitForSelector('#inventory[data-phase="waiting"] .dim');
  await page.waitForTimeout(1_300);
  await live();
  assert.equal(await page.locator("#inventory .dim").count(), 0);
  if (!/3$/.test(sku)) {
    await post(`/api/v1/inventory/${id}/adjust`, { delta: 7 });
    await page.waitForFunction(([s, n]) => document.querySelector(`tr[data-sku="${s}"] [data-field=stock]`)?.dataset.value === String(n), [sku, was + 7]);
  }

  const streams = [];
  page.on("websocket", (socket) => socket.url().includes("/ws/inventory") && streams.push(new URL(socket.url()).search));

  console.log("· what happened while the server was away is there afterwards, at the moment that the server named");
  await post("/mock/down?ms=1500&slot=true");
  await page.waitForSelector('#inventory[data-phase="waiting"]');
  await page.locator("#inventory").getByText("as the server asked").waitFor();
  await live();
  assert.match(streams.at(-1), /^\?since=/);
  await page.waitForSelector(".dim", { state: "detached" });

  console.log("· a gap is said, and loads the rows again");
  await post("/mock/gap");
  await page.waitForSelector('#inventory[data-phase="stale"]');
  await live();
  assert.match(streams.at(-1), /^\?snapshot=true/);
  await page.locator('[data-feed-state="inventory"]').getByText("Gaps: 1").waitFor();

  console.log("· a server that no longer knows what was missed sends the rows by itself");
  await post("/mock/down?ms=300");
  await page.waitForSelector('#inventory[data-phase="waiting"]');
  await post("/mock/forget");
  await live();
  assert.match(streams.at(-1), /^\?since=/);
  await page.locator('[data-feed-state="inventory"]').getByText("Gaps: 2").waitFor();

  console.log("· silence behind the server greys the tiles out, and ends by itself");
  await post("/mock/silent?is=true");
  await page.waitForSelector("#inventory .dim");
  await page.locator("#inventory").getByText("Silent", { exact: true }).waitFor();
  await post("/mock/silent?is=false");
  await live();
  assert.equal(await page.locator("#inventory .dim").count(), 0);

  console.log("· off line and back");
  await context.setOffline(true);
  await page.waitForSelector('#inventory[data-phase="offline"]');
  await context.setOffline(false);
  await live();

  console.log("· a missing token is asked for, taken from a paste or from the address, and kept out of it");
  const guarded = await context.newPage();
  await guarded.goto(secret.base);
  await guarded.getByRole("button", { name: "Token", exact: true }).click();
  await guarded.getByText("fanfare token --sub me").waitFor();
  await guarded.getByRole("textbox", { name: "Token" }).fill("s3cret");
  await guarded.keyboard.press("Enter");
  await guarded.waitForSelector('#inventory[data-phase="live"]');
  const other = await (await browser.newContext()).newPage();
  await other.goto(`${secret.base}/#token=s3cret`);
  await other.waitForSelector('#inventory[data-phase="live"]');
  assert.equal(new URL(other.url()).hash, "");

  assert.deepEqual(complaints, []);
  console.log("all of it holds");
} finally {
  await browser.close();
  quiet.stop();
  secret.stop();
}
