// Screenshots of the page in its states, against the mock server: node dev/shots.mjs OUTPUT_DIRECTORY
// Fails when the browser reports an error or a breach of the content policy.
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { axe } from "./axe.mjs";
import { launch } from "../e2e/browser.mjs";

const output = process.argv[2] ?? "shots";
const only = process.argv[3];
await mkdir(output, { recursive: true });

const SCENES = [
  { name: "desktop-light-en", scheme: "light", locale: "en-US", size: [1440, 900] },
  { name: "desktop-dark-ja", scheme: "dark", locale: "ja-JP", size: [1440, 900] },
  { name: "wide-dark-en", scheme: "dark", locale: "en-US", size: [1920, 1080] },
  { name: "tablet-light-ja", scheme: "light", locale: "ja-JP", size: [900, 1100], full: true },
  { name: "phone-light-ja", scheme: "light", locale: "ja-JP", size: [390, 844], full: true },
  { name: "phone-dark-en", scheme: "dark", locale: "en-US", size: [390, 844] },
  { name: "many-light-en", scheme: "light", locale: "en-US", size: [1440, 900], mock: ["--items=5000", "--rate=1000"], act: scrollDown },
  { name: "empty-light-en", scheme: "light", locale: "en-US", size: [1440, 900], mock: ["--items=0", "--rate=0"] },
  { name: "empty-dark-ja", scheme: "dark", locale: "ja-JP", size: [390, 844], mock: ["--items=0", "--rate=0"] },
  { name: "token-light-en", scheme: "light", locale: "en-US", size: [1440, 900], mock: ["--token=secret"], expect401: true },
  { name: "token-dark-ja", scheme: "dark", locale: "ja-JP", size: [390, 844], mock: ["--token=secret"], expect401: true },
  { name: "down-dark-en", scheme: "dark", locale: "en-US", size: [1440, 900], act: goDown, expect401: true },
  { name: "failure-light-ja", scheme: "light", locale: "ja-JP", size: [1440, 900], act: failToAdjust, expect401: true },
];

async function scrollDown(page) {
  await page.locator("#inventory .lane").evaluate((lane) => (lane.scrollTop = 60_000));
  await page.waitForTimeout(500);
}

async function goDown(page, base) {
  await page.request.post(`${base}/mock/down?ms=60000`);
  await page.waitForTimeout(2_500);
}

async function failToAdjust(page, base) {
  await page.request.post(`${base}/mock/say`, { data: { message: "21:00 から棚卸しのため配送を停止します", level: "warning" } });
  await page.locator("tr[data-sku$='3'] .buttons button").nth(1).click();
  await page.waitForTimeout(800);
}

const browser = await launch();
let failed = 0;
for (const scene of SCENES) {
  if (only && !scene.name.includes(only)) continue;
  const mock = spawn(process.execPath, [fileURLToPath(new URL("mock.mjs", import.meta.url)), "--port=0", ...(scene.mock ?? ["--items=160", "--rate=12"])]);
  const base = /http:\S+/.exec(String((await once(mock.stdout, "data"))[0]))[0];
  const context = await browser.newContext({
    viewport: { width: scene.size[0], height: scene.size[1] },
    colorScheme: scene.scheme,
    locale: scene.locale,
    deviceScaleFactor: scene.size[0] < 800 ? 2 : 1,
    hasTouch: scene.size[0] < 800,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(base);
  if (!scene.expect401 || scene.act) await page.waitForSelector('#inventory[data-phase="live"]');
  await page.waitForTimeout(6_000);
  await scene.act?.(page, base);
  await page.screenshot({ path: `${output}/${scene.name}.png`, fullPage: scene.full ?? false });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  const tall = await page.evaluate(() => innerWidth >= 1120 && document.documentElement.scrollHeight > innerHeight);
  if (tall) complaints.push("the page scrolls though its tiles should");
  if (wide) complaints.push("the page scrolls sideways");
  if (!scene.act) complaints.push(...(await axe(page)));
  const unexpected = complaints.filter((text) => !(scene.expect401 && /Failed to load resource|WebSocket connection/.test(text)));
  for (const text of unexpected) console.error(`${scene.name}: ${text}`);
  failed += unexpected.length;
  console.log(`${scene.name} done`);
  await context.close();
  mock.kill();
}
await browser.close();
process.exit(failed ? 1 : 0);
