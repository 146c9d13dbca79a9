// The pictures of the documentation: each page, light in English and dark in Japanese, wide and at the width of a phone, on
// invented data; then a page whose server is gone, and pages that have nothing to show yet.
//   node e2e/screenshots.mjs BINARY|BASE_URL DIRECTORY [--minutes=3]
// With a binary it starts a server of its own, fills it, and lets it run for so many minutes, so that there is a past.
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { launch } from "./browser.mjs";
import { ownServer } from "./own.mjs";

const [from, output] = process.argv.slice(2);
const options = Object.fromEntries(process.argv.slice(4).map((arg) => arg.replace(/^--/, "").split("=")));
if (!output) {
  console.error("usage: node e2e/screenshots.mjs BINARY|BASE_URL DIRECTORY [--minutes=3]");
  process.exit(2);
}
const PAGES = ["overview", "inventory", "prices", "class", "matching", "operations"];
const QUALITY = 0.86;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ends = [];

/** The server's data, and traffic that goes on while pictures are taken. */
async function seed(base, ms) {
  const script = fileURLToPath(new URL("../dev/seed.mjs", import.meta.url));
  const traffic = spawn(process.execPath, [script, base, `--traffic=${Math.ceil(ms / 1000) + 300}`], { stdio: "ignore" });
  ends.push(() => traffic.kill());
  await pause(ms);
}

try {
  await mkdir(output, { recursive: true });
  const isOwn = !/^https?:/.test(from);
  const { base, end } = isOwn ? await ownServer(from, { FANFARE__PROGRESS__STUCK_MIN_S: "120" }) : { base: from.replace(/\/$/, ""), end: async () => {} };
  ends.push(end);
  if (isOwn) await seed(base, Number(options.minutes ?? 3) * 60_000);
  const browser = await launch();
  ends.unshift(() => browser.close());
  const press = await (await browser.newContext()).newPage();
  const save = async (page, name, colorScheme) => {
    const png = (await page.screenshot()).toString("base64");
    // The browser itself makes a small picture of it.
    const webp = await press.evaluate(async ([data, quality]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/webp", quality).split(",")[1];
    }, [png, QUALITY]);
    await writeFile(join(output, `${name}-${colorScheme}.webp`), Buffer.from(webp, "base64"));
    if (options.png) await writeFile(join(options.png, `${name}-${colorScheme}.png`), Buffer.from(png, "base64"));
  };
  const open = async (context, at, name) => {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(`${at}/${name === "overview" ? "" : name}`);
    await page.waitForSelector(`main[data-page="${name}"]`);
    return page;
  };
  for (const [colorScheme, locale] of [["light", "en-US"], ["dark", "ja-JP"]]) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 850 }, colorScheme, locale });
    const pages = {};
    for (const name of [...PAGES].reverse()) {
      pages[name] = await open(context, base, name);
    }
    await pause(6_000);
    // What a page shows best.
    const acts = {
      // The server is minutes old: a longer span would be empty.
      prices: async (page) => {
        await page.locator("#chart .segments button").first().click();
        await page.mouse.move(0, 0);
        await page.evaluate(() => document.activeElement?.blur());
      },
      class: async (page) => page.locator("[data-student]").nth(3).click(),
      matching: async (page) => (await page.locator("#batches .button.primary").click(), await page.locator("#notices li").first().waitFor({ timeout: 20_000 }).catch(() => {})),
    };
    for (const name of PAGES) {
      await pages[name].bringToFront();
      await acts[name]?.(pages[name]);
      await pause(acts[name] ? 1_800 : 3_000);
      await save(pages[name], name, colorScheme);
    }
    const { prices } = pages;
    await prices.bringToFront();
    await prices.keyboard.press("t");
    // A moment of which the server knows something.
    await prices.locator("#travel-slider").evaluate((slider) => {
      slider.value = String(Date.now() - 60_000);
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    });
    await pause(2_500);
    await save(prices, "past", colorScheme);
    await context.close();
    const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme, locale });
    for (const name of PAGES) {
      const page = await open(phone, base, name);
      await pause(2_500);
      await save(page, `phone-${name}`, colorScheme);
      await page.close();
    }
    await phone.close();
  }
  if (isOwn) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 850 }, colorScheme: "light", locale: "en-US" });
    const fresh = await ownServer(from);
    ends.push(fresh.end);
    for (const name of PAGES) {
      const page = await open(context, fresh.base, name);
      await pause(1_500);
      await save(page, `empty-${name}`, "light");
      await page.close();
    }
    const page = await open(context, base, "inventory");
    await pause(4_000);
    await end();
    await pause(4_000);
    await save(page, "lost", "light");
    await context.close();
  }
  console.log(`pictures in ${output}`);
} finally {
  for (const end of ends) await end();
}
