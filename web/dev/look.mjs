// Pictures of a running server's pages, for whoever works on them:
//   node dev/look.mjs BASE_URL DIRECTORY [--pages=inventory,prices] [--scheme=dark] [--locale=ja-JP] [--size=1440x900]
// Says what the browser and the accessibility checker find wrong.
import { mkdir } from "node:fs/promises";

import { axe } from "./axe.mjs";
import { launch } from "../e2e/browser.mjs";

const [base, output] = process.argv.slice(2);
const options = Object.fromEntries(process.argv.slice(4).map((arg) => arg.replace(/^--/, "").split(/=(.*)/s)));
const [width, height] = (options.size ?? "1440x900").split("x").map(Number);
const pages = (options.pages ?? "overview,inventory,prices,class,matching,operations").split(",");
await mkdir(output, { recursive: true });

const browser = await launch();
const context = await browser.newContext({ viewport: { width, height }, colorScheme: options.scheme ?? "light", locale: options.locale ?? "en-US", hasTouch: width < 800 });
for (const name of pages) {
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && console.log(`${name}: ${message.text()}`));
  page.on("pageerror", (error) => console.log(`${name}: ${error.stack}`));
  await page.goto(`${base}/${name === "overview" ? "" : name}`);
  await page.waitForSelector(`main[data-page="${name}"]`).catch(() => console.log(`${name}: never shown`));
  await page.waitForTimeout(Number(options.wait ?? 5_000));
  if (options.eval) await page.evaluate(options.eval);
  if (options.click) for (const selector of options.click.split(";;")) await page.locator(selector).first().click({ timeout: 3_000 }).catch((error) => console.log(`${name}: ${error.message.split("\n")[0]}`));
  if (options.click) await page.waitForTimeout(1_500);
  await page.screenshot({ path: `${output}/${name}-${options.scheme ?? "light"}${options.tag ?? ""}.png`, fullPage: options.full === "true" });
  if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) console.log(`${name}: scrolls sideways`);
  if (options.axe !== "false") for (const line of await axe(page)) console.log(`${name}: ${line}`);
  await page.close();
}
await browser.close();
