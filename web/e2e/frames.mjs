// Measures what 1,000 updates a second cost the inventory page with 50,000 items: the work of the main thread a frame, by
// the browser's trace, and the memory that stays after the garbage is collected. The updates come from the stand-in
// server, which folds nothing, so the page gets them all.
//   node e2e/frames.mjs [--seconds=60] [--rate=1000] [--items=50000] [--sort=updated] [--costs]
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
const P95_MS = 8;
/** The longest stretch of trace that is kept. */
const TRACED_S = 20;
/** Growth that would make an hour's page noticeably heavier. */
const FLAT_MB_A_MINUTE = 0.2;

const mock = spawn(process.execPath, [fileURLToPath(new URL("../dev/mock.mjs", import.meta.url)), "--port=0", `--items=${items}`, `--sales=${rate}`, "--rate=0"]);
const base = /http:\S+/.exec(String((await once(mock.stdout, "data"))[0]))[0];
const browser = await launch();
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
  await page.goto(`${base}/inventory`);
  await page.waitForSelector('#inventory[data-phase="live"]', { timeout: 60_000 });
  if (options.sort) await page.locator(`th.${options.sort} button`).click();
  await page.waitForTimeout(5_000);
  const received = async () => Number((await page.locator('[data-feed-state="inventory"] .num').first().innerText()).replace(/^([\d,]+).*$/s, "$1").replaceAll(",", ""));

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
  sayFrames(`${items} items, ${perSecond.toFixed(0)} updates/s taken in`, frames);
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
