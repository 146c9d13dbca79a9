// Proves that people log in on the page, that a viewer is refused and told why, and that a manager is not.
//   node e2e/roles.mjs BASE_URL VIEWER:PASSWORD MANAGER:PASSWORD
import assert from "node:assert/strict";

import { launch } from "./browser.mjs";

const [base, viewer, manager] = process.argv.slice(2);
if (!manager) {
  console.error("usage: node e2e/roles.mjs BASE_URL VIEWER:PASSWORD MANAGER:PASSWORD");
  process.exit(2);
}
let step = "start a browser";
const say = (next) => {
  step = next;
  console.log(`· ${next}`);
};

const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US", reducedMotion: "reduce" });
  const first = await context.newPage();
  const page = first;
  page.setDefaultTimeout(20_000);
  const logIn = async (account, page = first) => {
    const [name, password] = account.split(/:(.*)/s);
    await page.getByRole("textbox", { name: "Account" }).fill(name);
    await page.getByLabel("Password", { exact: true }).last().fill(password);
    await page.keyboard.press("Enter");
  };

  say("be asked for a log-in, and be told that a password is wrong");
  await page.goto(`${base}/inventory`);
  await logIn("nobody:not this one");
  await page.getByRole("alert").getByText("do not match").waitFor();

  say("log in as a manager, and create and change an item");
  await logIn(manager);
  await page.waitForSelector('[data-feed-state="inventory"][data-phase="live"]');
  await page.getByRole("button", { name: "Import" }).waitFor({ state: "detached", timeout: 1 }).catch(() => {});
  const created = await page.evaluate(async () => {
    const { value } = JSON.parse(sessionStorage.getItem("fanfare.token"));
    const headers = { "content-type": "application/json", authorization: `Bearer ${value}` };
    return (await fetch("/api/v1/inventory", { method: "POST", headers, body: JSON.stringify({ sku: "ROLE-1", name: "Tea", stock_quantity: 20 }) })).status;
  });
  assert.equal(created, 201);
  const row = page.locator('tr[data-sku="ROLE-1"]');
  await row.waitFor();
  await page.getByRole("button", { name: "Import" }).waitFor();
  await row.getByRole("button", { name: /^Add one/ }).click();
  await page.locator('tr[data-sku="ROLE-1"] [data-value="21"]').waitFor();
  await page.waitForSelector(".pending", { state: "detached" });

  say("survive a reload, and log out");
  await page.reload();
  await row.waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in to Fanfare" }).waitFor();

  say("a log-in that ends in one tab is asked for in its twin, where nothing typed is lost");
  await logIn(manager);
  await row.waitFor();
  const twin = await context.newPage();
  await twin.goto(base);
  await twin.evaluate((kept) => sessionStorage.setItem("fanfare.token", kept), await page.evaluate(() => sessionStorage.getItem("fanfare.token")));
  await twin.goto(`${base}/inventory`);
  await twin.locator('tr[data-sku="ROLE-1"]').focus();
  await twin.keyboard.press("Enter");
  await twin.getByRole("spinbutton", { name: "Stock" }).fill("34");
  await page.getByRole("button", { name: "Log out" }).click();
  await twin.getByRole("heading", { name: "Log in to Fanfare" }).waitFor();
  assert.equal(await twin.evaluate(() => document.activeElement.id), "name", "the form has not the focus");
  await logIn(manager, twin);
  await twin.getByRole("spinbutton", { name: "Stock" }).waitFor();
  assert.equal(await twin.getByRole("spinbutton", { name: "Stock" }).inputValue(), "34");
  await twin.close();

  say("log in as a viewer, who sees everything, can change nothing, and is told why");
  await logIn(viewer);
  await row.waitFor();
  await page.getByText("View only").waitFor();
  assert.equal(await page.getByRole("button", { name: "Import" }).count(), 0);
  assert.equal(await row.getByRole("button").count(), 0);
  await row.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("Your role may look but not change").waitFor();
  await page.keyboard.press("+");
  assert.equal(await row.locator('[data-field="stock"]').getAttribute("data-value"), "21");
  const refused = await page.evaluate(async (id) => {
    const { value } = JSON.parse(sessionStorage.getItem("fanfare.token"));
    const headers = { "content-type": "application/json", authorization: `Bearer ${value}` };
    return (await fetch(`/api/v1/inventory/${id}/adjust`, { method: "POST", headers, body: JSON.stringify({ delta: 1 }) })).status;
  }, await row.getAttribute("data-id"));
  assert.equal(refused, 403);

  say("be kept out of what is for managers, with a word");
  await page.getByRole("link", { name: "Matching" }).click();
  await page.getByText("Only managers may see this.").first().waitFor();
  await page.getByRole("link", { name: "Operations" }).click();
  await page.getByText("Only administrators may see dead letters.").waitFor();
  console.log("roles hold");
} catch (error) {
  console.error(`FAILED to ${step}: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
