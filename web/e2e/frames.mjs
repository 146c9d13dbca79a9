// Measures what 1,000 updates a second cost a page with 50,000 items: the work of the main thread a frame, by the browser's
// trace, and the memory that stays after the garbage is collected. The updates come from the stand-in server, which folds
// nothing, so the page gets them all.
//   node e2e/frames.mjs [--page=inventory|prices|overview] [--seconds=60] [--rate=1000] [--items=50000] [--sort=updated] [--costs]
// The overview gets a quarter as many changes of prices beside its sales, and the class and matching of the stand-in.
// With --seconds=600 it says how the memory moves in ten minutes.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { launch } from "./browser.mjs";
import { heapMb, quantile, sayFrames, slope, traceFrames } from "./trace.mjs";

const options = Object.fromEntries(process.argv.slice(2).map((arg) => arg.replace(/^--/, "").split("=")));
const seconds = Number(options.seconds ?? 60);
const rate = Number(options.rate ?? 1_000);
const items = Number(options.items ?? 50_000);
/** What a page is measured by: the traffic that it gets, the tile that must be live, and the feed that counts. */
const PAGES = {
  inventory: { path: "/inventory", traffic: [`--sales=${rate}`, "--rate=0"], tile: "inventory", feed: "inventory" },
  prices: { path: "/prices", traffic: [`--prices=${rate}`, "--rate=0"], tile: "list", feed: "price" },
  overview: { path: "/", traffic: [`--sales=${rate}`, `--prices=${rate / 4}`], tile: "inventory", feed: "price" },
};
const { path, traffic, tile, feed } = PAGES[options.page ?? "inventory"];
const P95_MS = 8;
/** The longest stretch of trace that is kept. */
const TRACED_S = 20;
/** Growth that would make an hour's page noticeably heavier. */
const FLAT_MB_A_MINUTE = 0.2;

const mock = spawn(process.execPath, [fileURLToPath(new URL("../dev/mock.mjs", import.meta.url)), "--port=0", `--items=${items}`, ...traffic]);
const base = /http:\S+/.exec(String((await once(mock.stdout, "data"))[0]))[0];
const browser = await launch();
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
  await page.goto(`${base}${path}`);
  await page.waitForSelector(`#${tile}[data-phase="live"]`, { timeout: 60_000 });
  if (options.sort) await page.locator(`th.${options.sort} button`).click();
  await page.waitForTimeout(5_000);
  const received = async () => Number(await page.locator(`[data-feed-state="${feed}"]`).getAttribute("data-received"));

  const began = Date.now();
  const passedS = () => (Date.now() - began) / 1_000;
  const before = await received();
  const frames = await traceFrames(page, Math.min(TRACED_S, seconds));
  const heaps = [[passedS() / 60, await heapMb(page)]];
  while (passedS() < seconds) {
    await page.waitForTimeout(Math.min(10_000, Math.max(0, (seconds - passedS()) * 1_000)));
    heaps.push([passedS() / 60, await heapMb(page)]);
  }
  const perSecond = ((await received()) - before) / passedS();
  if ("costs" in options) frames.costs();
  sayFrames(`${options.page ?? "inventory"}, ${items} items, ${perSecond.toFixed(0)} updates/s taken in`, frames);
  console.log(`memory after collection: ${heaps.map(([, heap]) => heap.toFixed(1)).join(", ")} MB`);
  if (quantile(frames.cpu, 0.95) > P95_MS) {
    console.error(`FAILED: p95 is over ${P95_MS} ms`);
    process.exitCode = 1;
  }
  if (seconds >= 300) {
    // The first minute fills what is kept: curves, lanes, descriptions.
    const growth = slope(heaps.filter(([minute]) => minute >= 1));
    console.log(`memory moves by ${growth.toFixed(3)} MB a minute`);
    if (growth > FLAT_MB_A_MINUTE) {
      console.error(`FAILED: more than ${FLAT_MB_A_MINUTE} MB a minute`);
      process.exitCode = 1;
    }
  }
} finally {
  await browser.close();
  mock.kill();
}
