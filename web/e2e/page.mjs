// Proves that a change reaches the page by itself, against a running server:
//   node e2e/page.mjs BASE_URL [--screenshot=FILE] [--token=TOKEN]
// Ends with 0 when every step held, otherwise with 1 and a line that says which one did not.
import { launch } from "./browser.mjs";

const base = process.argv[2]?.replace(/\/$/, "");
const options = Object.fromEntries(process.argv.slice(3).map((arg) => arg.replace(/^--/, "").split(/=(.*)/s)));
if (!base || !/^https?:/.test(base)) {
  console.error("usage: node e2e/page.mjs BASE_URL [--screenshot=FILE] [--token=TOKEN]");
  process.exit(2);
}

const PATIENCE_MS = 15_000;
const sku = `E2E-${Date.now().toString(36).toUpperCase()}`;
const headers = { "content-type": "application/json", ...(options.token ? { authorization: `Bearer ${options.token}` } : {}) };

let step = "start a browser";
const say = (next) => {
  step = next;
  console.log(`· ${next}`);
};

async function api(method, path, body) {
  const response = await fetch(`${base}${path}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return text ? JSON.parse(text) : null;
}

function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

const complaints = [];
let browser;
let created;
try {
  browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US", colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));

  say("open the page");
  const response = await page.goto(`${base}/${options.token ? `#token=${encodeURIComponent(options.token)}` : ""}`);
  check(response?.ok(), `the page answered ${response?.status()}`);
  const policy = response.headers()["content-security-policy"] ?? "";
  check(policy.includes("default-src 'self'") && !policy.includes("unsafe-inline"), `the content policy is ${policy || "missing"}`);

  say("wait until all five feeds are live");
  for (const feed of ["inventory", "price", "progress", "match", "general"]) {
    await page.waitForSelector(`[data-feed-state="${feed}"][data-phase="live"]`).catch(async () => {
      const phase = await page.getAttribute(`[data-feed-state="${feed}"]`, "data-phase", { timeout: 1_000 }).catch(() => "not on the page");
      throw new Error(`the ${feed} feed is ${phase}`);
    });
  }
  check(!page.url().includes("token="), "the token is still in the address bar");

  say(`create ${sku} by the API and see its row`);
  created = await api("POST", "/api/v1/inventory", { sku, name: "End to end", category: "test", stock_quantity: 40 });
  // A long list is windowed, so the row is searched for as a user would.
  const search = page.locator("#inventory input[type=search]");
  await search.waitFor();
  await search.fill(sku);
  const row = page.locator(`tr[data-sku="${sku}"]`);
  const stock = row.locator('[data-field="stock"]');
  await row.waitFor();
  await shows(stock, 40);

  say("adjust the stock by the API and see the number change");
  await api("POST", `/api/v1/inventory/${created.id}/adjust`, { delta: -3 });
  await shows(stock, 37);

  say("adjust the stock on the page and find it in the API");
  await row.locator(".buttons button").nth(1).click();
  await shows(stock, 38);
  await until(async () => (await api("GET", `/api/v1/inventory/${created.id}`)).stock_quantity === 38, "the API still has another stock");

  say("sell out and see the state and the alert");
  await api("POST", `/api/v1/inventory/${created.id}/adjust`, { delta: -38 });
  await shows(stock, 0);
  await page.waitForSelector(`tr[data-sku="${sku}"][data-level="out"]`);
  await page.locator("#alerts li", { hasText: sku }).first().waitFor();

  if (options.screenshot) {
    say(`screenshot to ${options.screenshot}`);
    await search.fill("");
    await page.screenshot({ path: options.screenshot });
    await search.fill(sku);
  }

  say("delete the item by the API and see the row go");
  await api("DELETE", `/api/v1/inventory/${created.id}`);
  created = null;
  await row.waitFor({ state: "detached" });

  say("find no error in the browser's console");
  check(complaints.length === 0, complaints.join("\n  "));
  console.log("the page is live from end to end");
} catch (error) {
  console.error(`FAILED to ${step}: ${error instanceof Error ? error.message : error}`);
  if (complaints.length > 0) console.error(`the browser said:\n  ${complaints.join("\n  ")}`);
  process.exitCode = 1;
} finally {
  if (created) await api("DELETE", `/api/v1/inventory/${created.id}`).catch(() => {});
  await browser?.close();
}

async function until(holds, otherwise) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(typeof otherwise === "function" ? await otherwise() : otherwise);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function shows(locator, value) {
  await until(
    async () => (await locator.getAttribute("data-value").catch(() => null)) === String(value),
    async () => `the row never showed ${value}, but ${await locator.getAttribute("data-value", { timeout: 500 }).catch(() => "nothing")}`,
  );
}
