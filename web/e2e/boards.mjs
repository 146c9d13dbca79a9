// Proves each page against a running, open server: an update appears, what is stale greys out, a killed server is survived,
// the past shows what was, both languages are whole, and an accessibility checker finds nothing in either theme.
//   node e2e/boards.mjs BASE_URL
// What it wants done to the server it writes as a line that begins with "do:", and goes on when a line comes back.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";

import { axe } from "../dev/axe.mjs";
import { launch } from "./browser.mjs";

const base = process.argv[2];
if (!base) {
  console.error("usage: node e2e/boards.mjs BASE_URL");
  process.exit(2);
}

const PATIENCE_MS = 30_000;
const PAGES = ["overview", "inventory", "prices", "class", "matching", "operations"];
const NOTEBOOK = "lesson/first.ipynb";
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

async function api(method, path, body) {
  const response = await fetch(`${base}${path}`, { method, headers: { "content-type": "application/json" }, ...(body ? { body: JSON.stringify(body) } : {}) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path} answered ${response.status}: ${text}`);
  return text ? JSON.parse(text) : null;
}

async function eventually(what, holds, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
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

let events = 0;
const run = (user, cell, ok, minutesAgo = 0) => ({
  eventId: `boards-${(events += 1)}`, eventType: "cell_executed", eventTime: new Date(Date.now() - minutesAgo * 60_000).toISOString(), userId: user, userName: `Name of ${user}`,
  teamName: "A", class: "3-B", notebookPath: NOTEBOOK, cellId: `c${cell}`, cellIndex: cell - 1, cellType: "code", hasError: !ok, ...(ok ? {} : { errorMessage: "NameError: name 'df' is not defined" }),
});

const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US", colorScheme: "light", reducedMotion: "reduce" });
  const faults = [];
  const open = async (name) => {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => faults.push(`${name}: ${error}`));
    page.on("console", (message) => message.type() === "error" && /Content Security Policy/.test(message.text()) && faults.push(`${name}: ${message.text()}`));
    await page.goto(`${base}/${name === "overview" ? "" : name}`);
    await page.waitForSelector(`main[data-page="${name}"]`);
    return page;
  };
  const live = (page, tile) => page.waitForSelector(`#${tile}[data-phase="live"][data-stale="false"]`);
  const value = (page, sku) => page.getAttribute(`tr[data-sku="${sku}"] [data-field="stock"]`, "data-value");
  const shows = (page, sku, stock) => eventually(`stock of ${sku}`, async () => assert.equal(await value(page, sku), String(stock)));

  say("seed a shop, a class and jobs");
  const item = await api("POST", "/api/v1/inventory", { sku: "BRD-1", name: "Green tea", category: "Tea", stock_quantity: 40, min_stock_level: 5 });
  const other = await api("POST", "/api/v1/inventory", { sku: "BRD-2", name: "Black tea", category: "Tea", stock_quantity: 30, min_stock_level: 5 });
  const bornAtMs = Date.now();
  const price = await api("POST", "/api/v1/prices", { inventory_id: item.id, selling_price: 500 });
  await api("POST", "/api/v1/events", [run("ann", 1, true, 20), run("ann", 2, true, 10), run("bob", 1, false, 12)]);
  await api("POST", "/api/v2/jobs/bulk", Array.from({ length: 12 }, (_, i) => ({ external_id: `J${i}`, company_name: `Company ${i}`, title: `Waiter ${i}`, occupation_category: "restaurant", prefecture: "東京都", salary_min: 1200 + i })));
  await api("POST", "/api/v2/users/bulk", [{ external_id: "U1", email: "u1@example.com", name: "Hana", language: "en", prefecture: "東京都", email_opt_in: true, profile: { work_preferences: { occupation_categories: ["restaurant"] }, experience: {}, personal_info: {} } }]);

  say("inventory: a change appears, and only its own feeds are subscribed");
  const inventory = await open("inventory");
  await live(inventory, "inventory");
  await shows(inventory, "BRD-1", 40);
  assert.deepEqual(await inventory.locator("[data-feed-state]").evaluateAll((all) => all.map((feed) => feed.dataset.feedState)), ["inventory", "general"]);
  await api("POST", `/api/v1/inventory/${other.id}/adjust`, { delta: -2 });
  await shows(inventory, "BRD-2", 28);

  say("inventory: edit in place, with the keyboard alone");
  await inventory.locator('tr[data-sku="BRD-2"]').focus();
  await inventory.keyboard.press("Enter");
  const stock = inventory.getByRole("spinbutton", { name: "Stock" });
  await stock.fill("33");
  await inventory.keyboard.press("Enter");
  await eventually("the API has the edit", async () => assert.equal((await api("GET", `/api/v1/inventory/${other.id}`)).stock_quantity, 33));
  await shows(inventory, "BRD-2", 33);

  say("inventory: somebody else is quicker, and that is said");
  await inventory.locator('tr[data-sku="BRD-2"]').focus();
  await inventory.keyboard.press("Enter");
  await stock.fill("50");
  await api("POST", `/api/v1/inventory/${other.id}/adjust`, { delta: -3 });
  await inventory.getByRole("alert").getByText("Changed to 30 meanwhile").waitFor();
  await inventory.getByRole("button", { name: "Take theirs" }).click();
  await inventory.keyboard.press("Escape");
  await shows(inventory, "BRD-2", 30);

  say("inventory: one's own change is no conflict, and two names are one");
  const alerted = () => inventory.evaluate(() => {
    window.__alerts = 0;
    new MutationObserver((changes) => (window.__alerts += changes.filter(({ addedNodes }) => [...addedNodes].some((node) => node.querySelector?.("[role=alert]") ?? node.role === "alert")).length)).observe(document.querySelector("tbody"), { childList: true, subtree: true });
  });
  const form = inventory.locator("tr form");
  await alerted();
  await inventory.locator('tr[data-sku="BRD-2"]').focus();
  await inventory.keyboard.press("Enter");
  await stock.fill("31");
  await inventory.keyboard.press("Enter");
  await form.waitFor({ state: "detached" });
  await shows(inventory, "BRD-2", 31);
  assert.equal(await inventory.evaluate(() => window.__alerts), 0, "an own change was called a conflict");
  await inventory.keyboard.press("Enter");
  await inventory.getByRole("textbox", { name: "Name" }).fill("Black tea, mine");
  await api("PATCH", `/api/v1/inventory/${other.id}`, { name: "Black tea, theirs", stock_quantity: 30 });
  await inventory.getByRole("alert").getByText("Changed to Black tea, theirs meanwhile").waitFor();
  await inventory.getByRole("button", { name: "Take theirs" }).click();
  await inventory.keyboard.press("Enter");
  await form.waitFor({ state: "detached" });

  say("inventory: what is typed outlives a search, and it is said when it has nowhere to go");
  const short = await api("POST", "/api/v1/inventory", { sku: "BRD-9", name: "Short-lived", stock_quantity: 20 });
  const search = inventory.getByRole("searchbox");
  await inventory.locator('tr[data-sku="BRD-9"]').focus();
  await inventory.keyboard.press("Enter");
  await stock.fill("77");
  await search.fill("nothing such");
  await form.waitFor({ state: "detached" });
  await search.fill("");
  await form.waitFor();
  assert.equal(await stock.inputValue(), "77");
  await api("DELETE", `/api/v1/inventory/${short.id}`);
  await inventory.getByRole("alert").getByText("deleted meanwhile").waitFor();
  await inventory.locator('tr[data-sku="BRD-1"]').focus();
  await inventory.keyboard.press("ArrowDown");
  assert.equal(await inventory.evaluate(() => document.activeElement.dataset.sku), "BRD-2", "the keyboard is dead");

  say("inventory: import rows, with what is refused by its line");
  await inventory.getByRole("button", { name: "Import" }).click();
  await inventory.getByRole("textbox", { name: "Rows to import" }).fill('sku,name,stock_quantity\nBRD-3,"Tea, white",0\nX,too short,1\nBRD-2,Black tea,29');
  await inventory.getByRole("button", { name: "Import", exact: true }).last().click();
  await inventory.getByText("3 / 3").waitFor();
  await inventory.getByText("Line 3", { exact: true }).waitFor();
  await inventory.keyboard.press("Escape");
  await shows(inventory, "BRD-2", 29);
  await inventory.locator("#out li", { hasText: "Tea, white" }).waitFor();

  say("inventory: a spreadsheet's file of another encoding, and one that names no SKU");
  await inventory.getByRole("button", { name: "Import" }).click();
  await inventory.getByRole("button", { name: "Import more" }).click();
  // 「抹茶の粉」 as spreadsheets in Japan write it.
  const name = Buffer.from([0x96, 0x95, 0x92, 0x83, 0x82, 0xcc, 0x95, 0xb2]);
  const file = (head) => ({ name: "list.csv", mimeType: "text/csv", buffer: Buffer.concat([Buffer.from(`${head}\nBRD-5,`), name, Buffer.from(",12\n")]) });
  await inventory.locator("input[type=file]").setInputFiles(file("code,name,stock_quantity"));
  await inventory.getByRole("alert").getByText("No column is called").waitFor();
  assert.ok(await inventory.getByRole("button", { name: "Import", exact: true }).last().isDisabled());
  await inventory.locator("input[type=file]").setInputFiles(file("sku,name,stock_quantity"));
  await inventory.getByText("Shift_JIS").waitFor();
  await inventory.getByRole("button", { name: "Import", exact: true }).last().click();
  await inventory.locator('tr[data-sku="BRD-5"]', { hasText: "抹茶の粉" }).waitFor({ state: "attached" });
  await inventory.keyboard.press("Escape");

  say("prices: a change appears in list, feed and chart; an approval is given");
  const prices = await open("prices");
  await live(prices, "chart");
  await prices.locator("#chart canvas").waitFor();
  await api("PATCH", `/api/v1/prices/${price.id}`, { selling_price: 520 });
  await prices.locator('[data-price-sku="BRD-1"] [data-field="price"][data-value="520"]').waitFor();
  await prices.locator("#changes li", { hasText: "¥520" }).waitFor();
  await prices.locator("#chart .legend", { hasText: "¥520" }).waitFor();

  say("prices: the list is one stop of the keyboard, and the arrows walk it");
  const third = await api("POST", "/api/v1/prices", { inventory_id: other.id, selling_price: 300 });
  await prices.locator('[data-price-sku="BRD-2"]').waitFor();
  assert.equal(await prices.locator('#list input[type=checkbox][tabindex="0"]').count(), 1);
  await prices.locator('[data-price-sku="BRD-1"] input').focus();
  await prices.keyboard.press("ArrowDown");
  assert.equal(await prices.evaluate(() => document.activeElement.closest("[data-price-sku]").dataset.priceSku), "BRD-2");
  await prices.keyboard.press("ArrowUp");
  await api("DELETE", `/api/v1/prices/${third.id}`);

  say("prices: a finger pans the chart");
  const hand = await context.newCDPSession(prices);
  const place = await prices.locator("#chart .chart").boundingBox();
  const touch = (type, ...xs) => hand.send("Input.dispatchTouchEvent", { type, touchPoints: xs.map((x, id) => ({ x: place.x + x, y: place.y + place.height / 2, id })) });
  await touch("touchStart", 200);
  for (let x = 200; x <= 320; x += 20) await touch("touchMove", x);
  await touch("touchEnd");
  await prices.locator("#chart .reset").click();
  await prices.locator("#chart .reset").waitFor({ state: "detached" });

  say("prices: changes that come as one are counted as many, and another currency is not taken for yen");
  const before = (await api("GET", `/api/v1/prices/${price.id}/history?limit=100`)).items.length;
  for (let step = 1; step <= 6; step += 1) await api("PATCH", `/api/v1/prices/${price.id}`, { selling_price: 520 + step });
  await prices.locator("#changes li", { hasText: "¥526" }).waitFor();
  const counted = await prices.locator("#changes li").evaluateAll((all) => all.filter((each) => each.textContent.includes("BRD-1")).map((each) => Number(/×(\d+)/.exec(each.textContent)?.[1] ?? 1)).reduce((sum, times) => sum + times, 0));
  assert.equal(counted, before + 6);
  await api("POST", "/api/v1/prices", { inventory_id: item.id, selling_price: 5.5, currency: "USD" });
  await prices.locator("#changes li", { hasText: "$5.50" }).waitFor();
  await prices.reload();
  await prices.locator("#changes li", { hasText: "5.5" }).waitFor();
  assert.equal(await prices.locator("#changes li", { hasText: "¥5.5" }).count() + await prices.locator("#changes li", { hasText: "¥6" }).count(), 0, "dollars are shown as yen");
  await api("PATCH", `/api/v1/prices/${price.id}`, { selling_price: 600, requires_approval: true });
  await prices.locator('[data-approval="BRD-1"]').getByRole("button", { name: "Approve" }).click();
  await prices.locator('[data-price-sku="BRD-1"] [data-field="price"][data-value="600"]').waitFor();

  say("class: a run fills its cell, failures raise a signal, a student has a timeline");
  const room = await open("class");
  await live(room, "matrix");
  /** What a cell's place in the picture of its row stands for. */
  const mark = async (user, id) => {
    const place = (await room.locator("#matrix .head [data-cell]").evaluateAll((heads) => heads.map((head) => head.dataset.cell))).indexOf(id);
    return (await room.locator(`[data-student="${user}"] [data-marks]`).getAttribute("data-marks", { timeout: 500 })).split(" ")[place];
  };
  await eventually("ann has solved cell 2", async () => assert.equal(await mark("ann", "c2"), "solved"));
  await api("POST", "/api/v1/events", [run("bob", 1, true)]);
  await eventually("bob has solved cell 1", async () => assert.equal(await mark("bob", "c1"), "solved"));
  await api("POST", "/api/v1/events", [run("bob", 2, false), run("bob", 2, false), run("bob", 2, false)]);
  await room.locator('[data-student="bob"]', { hasText: "Failing" }).waitFor();
  // A row that has just become the first one may move away from under a pointer.
  await room.locator('[data-student="bob"]').press("Enter");
  await room.locator("#student li", { hasText: "NameError" }).first().waitFor();
  await room.locator("#errors li", { hasText: "NameError" }).first().waitFor();
  await room.locator("#student").getByRole("button", { name: "Close" }).click();
  assert.equal(await room.evaluate(() => document.activeElement.dataset.student), "bob", "the focus is lost with the timeline");
  await room.keyboard.press("Enter");
  await room.locator("#student").waitFor();

  say("matching: a batch that is started here runs to its end, and a user has recommendations with reasons and a mail");
  const matching = await open("matching");
  await live(matching, "batches");
  const batches = async () => (await api("GET", "/api/v1/batch/status?limit=100")).batches.length;
  const beforeStart = await batches();
  await matching.getByRole("button", { name: "Start" }).dblclick();
  await matching.locator('[data-batch][data-state="completed"]').first().waitFor();
  assert.equal(await batches(), beforeStart + 1, "a double click starts two batches");
  await matching.locator("#user .match").first().waitFor();
  assert.ok((await matching.locator("#user .match").first().getByRole("meter").count()) === 7);
  await matching.locator("#notices li").first().waitFor();
  await matching.locator("#notices li button").first().click();
  await matching.locator("#user header", { hasText: "Hana" }).waitFor();
  await matching.getByRole("button", { name: "E-mail preview" }).click();
  const mail = matching.frameLocator("iframe");
  await mail.getByText("Waiter").first().waitFor();
  await eventually("its links lead out of the frame, in which nothing runs", async () => assert.ok(await matching.evaluate(() => {
    const frame = document.querySelector("iframe");
    const links = [...frame.contentDocument.links];
    return links.length > 0 && links.every((link) => link.target === "_blank") && !frame.sandbox.contains("allow-scripts");
  })));
  await matching.keyboard.press("Escape");

  say("operations: figures, a balanced ledger, and the fate of a message");
  const operations = await open("operations");
  await operations.locator("#ledger", { hasText: "balanced" }).waitFor();
  await operations.locator("#ledger th", { hasText: "inventory:updates" }).waitFor();
  await operations.locator("#health", { hasText: "healthy" }).waitFor();
  const { clients } = await api("GET", "/api/v1/presence?channel=inventory:updates");
  const ledger = await api("GET", "/api/v1/ledger");
  assert.ok(ledger.channels["inventory:updates"].accepted > 0);
  const { result } = await api("POST", "/api/publish", { channel: "inventory:updates", data: { message_type: "note" } });
  await operations.getByLabel("Offset").fill(String(result.offset));
  await operations.getByLabel("Client").fill(clients[0].client);
  // The page is told at a bounded pace, so the message may wait a moment.
  await eventually("the message is delivered", async () => {
    await operations.getByRole("button", { name: "Ask" }).click();
    assert.equal(await operations.locator("[data-fate]").getAttribute("data-fate", { timeout: 2_000 }), "delivered");
  });

  say("operations: a dead letter is shown, replayed, and discarded");
  const letter = operations.locator("[data-letter]").first();
  await letter.waitFor();
  const id = await letter.getAttribute("data-letter");
  const same = operations.locator(`[data-letter="${id}"]`);
  const replayed = operations.waitForResponse((response) => response.url().endsWith(`/${id}/replay`));
  await same.getByRole("button", { name: "Replay" }).click();
  assert.equal((await replayed).status(), 202);
  // It fails again, and is back.
  await eventually("the letter is dead again", async () => assert.ok((await api("GET", "/api/v1/dead-letters")).items.some((each) => String(each.id) === id)));
  await same.waitFor();
  await same.getByRole("button", { name: "Discard" }).click();
  await same.getByRole("button", { name: "Really discard?" }).click();
  await same.waitFor({ state: "detached" });

  say("time travel: the class as it was, and the stock as it was");
  await room.keyboard.press("Escape");
  const slide = async (page, atMs) => page.locator("#travel-slider").evaluate((slider, to) => {
    slider.value = String(to);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }, atMs);
  await room.getByRole("button", { name: "Time travel" }).click();
  await slide(room, Date.now() - 15 * 60_000);
  await eventually("ann had not solved cell 2", async () => {
    assert.equal(await room.locator("[data-student]").count(), 1);
    assert.notEqual(await mark("ann", "c2"), "solved");
    assert.equal(await mark("ann", "c1"), "solved");
  });
  await room.getByRole("button", { name: "Back to live" }).click();
  await eventually("ann has solved it now", async () => assert.equal(await mark("ann", "c2"), "solved"));
  // The past comes in steps of some seconds, so the change has to be in a later one than the beginning.
  await eventually("some seconds have passed", async () => assert.ok(Date.now() - bornAtMs > 20_000));
  await api("POST", `/api/v1/inventory/${item.id}/adjust`, { delta: -15 });
  await shows(inventory, "BRD-1", 25);
  await eventually("the history has both", async () => {
    const { points } = await api("GET", "/api/v1/series/stock_level?field=stock&sku=BRD-1&from=-10m&step=8s");
    assert.ok(points.some((point) => point.last === 40) && points.at(-1).last === 25, JSON.stringify(points));
  });
  await inventory.getByRole("button", { name: "Time travel" }).click();
  await slide(inventory, bornAtMs + 1_000);
  await shows(inventory, "BRD-1", 40);
  assert.equal(await inventory.locator("#inventory").getAttribute("data-phase"), "past");
  assert.equal(await inventory.locator('tr[data-sku="BRD-1"] .buttons button').count(), 0, "the past can be changed");
  assert.equal(await inventory.getByRole("button", { name: /^Low/ }).count(), 0, "what is low now is said of the past");
  await inventory.getByRole("button", { name: "60×" }).click();
  await inventory.getByRole("button", { name: "Play" }).click();
  // The past is played until it is the present.
  await inventory.waitForSelector('#inventory[data-phase="live"]');
  await shows(inventory, "BRD-1", 25);

  say("time travel: what was said then is said again, and goes on as the past is played");
  const late = await api("POST", "/api/v1/inventory", { sku: "BRD-4", name: "Barley tea", category: "Tea", stock_quantity: 9, min_stock_level: 5 });
  // The alert is said at some moment from here on, however long the answer takes.
  const beforeMs = Date.now();
  await api("POST", `/api/v1/inventory/${late.id}/adjust`, { delta: -6 });
  const alertedAtMs = Date.now();
  const overview = await open("overview");
  await live(overview, "alerts");
  await eventually("the alert is some seconds old", async () => assert.ok(Date.now() - alertedAtMs > 8_000));
  const replays = [];
  overview.on("websocket", (socket) => socket.url().includes("from=") && replays.push(socket.url()));
  await overview.getByRole("button", { name: "Time travel" }).click();
  await overview.getByRole("button", { name: "1×", exact: true }).click();
  // The slider rounds to whole seconds.
  await slide(overview, beforeMs - 2_000);
  const told = (sku) => overview.locator('#alerts[data-phase="past"] li', { hasText: sku });
  await told("BRD-3").waitFor();
  assert.equal(await told("BRD-4").count(), 0, "what came later is said too early");
  await overview.getByRole("button", { name: "Play" }).click();
  await told("BRD-4").waitFor({ timeout: 90_000 });
  // One to fill the lanes and one to go on, of each of the four feeds.
  assert.ok(replays.length <= 8, `the past was asked for ${replays.length} times`);
  await overview.getByRole("button", { name: "Back to live" }).click();
  await live(overview, "alerts");
  await overview.close();

  say("a hidden tab lets go of its feeds, and goes on where it was");
  const hide = (hidden) => inventory.evaluate((is) => {
    Object.defineProperty(document, "hidden", { value: is, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await inventory.waitForSelector('#inventory[data-phase="idle"]');
  const reopened = inventory.waitForEvent("websocket", { predicate: (socket) => socket.url().includes("/ws/inventory") });
  await api("POST", `/api/v1/inventory/${item.id}/adjust`, { delta: -1 });
  await hide(false);
  assert.match((await reopened).url(), /since=/);
  await live(inventory, "inventory");
  await shows(inventory, "BRD-1", 24);

  say("every page: whole in both languages, and nothing for the accessibility checker in either theme");
  const seen = { "en-US": {}, "ja-JP": {} };
  for (const [scheme, locale] of [["light", "en-US"], ["dark", "en-US"], ["light", "ja-JP"]]) {
    const other = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale, colorScheme: scheme, reducedMotion: "reduce" });
    for (const name of PAGES) {
      const page = await other.newPage();
      await page.goto(`${base}/${name === "overview" ? "" : name}`);
      await page.waitForSelector(`main[data-page="${name}"]`);
      await page.waitForTimeout(700);
      const text = await page.evaluate(() => document.body.innerText);
      assert.doesNotMatch(text, /\{\w+\}|undefined|NaN|\[object/, `${name} in ${locale}`);
      seen[locale][name] = await page.locator("h1, h2, thead th button").allInnerTexts();
      // Language changes no color, so each theme is checked in one.
      if (locale === "en-US") assert.deepEqual(await axe(page), [], `${name}, ${scheme}`);
      await page.close();
    }
    await other.close();
  }
  for (const name of PAGES) for (const heading of seen["ja-JP"][name]) assert.ok(!/^[A-Za-z ]+$/.test(heading) || heading === "SKU", `${name}: “${heading}” is not Japanese`);

  say("at the width of a phone nothing scrolls sideways");
  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, locale: "ja-JP" });
  for (const name of PAGES) {
    const page = await phone.newPage();
    await page.goto(`${base}/${name === "overview" ? "" : name}`);
    await page.waitForSelector(`main[data-page="${name}"]`);
    await page.waitForTimeout(500);
    assert.ok(await page.evaluate(() => [document.documentElement, document.querySelector("main")].every((box) => box.scrollWidth <= box.clientWidth)), `${name} scrolls sideways`);
    await page.close();
  }
  await phone.close();

  say("kill the server: every tile greys out by itself, and is live again when it is back");
  await have("kill");
  for (const [page, tile] of [[inventory, "inventory"], [prices, "chart"], [room, "matrix"], [matching, "batches"], [operations, "health"]]) await page.waitForSelector(`#${tile}[data-stale="true"]`);

  say("the past of a server that is away is not made up, and is read when it is back");
  await slide(room, bornAtMs - 15 * 60_000);
  await room.waitForSelector('#matrix[data-phase="past"][data-stale="true"]');
  await room.locator("#matrix header", { hasText: "could not be loaded" }).waitFor();
  await have("start");
  for (const [page, tile] of [[inventory, "inventory"], [prices, "chart"], [room, "matrix"], [matching, "batches"], [operations, "health"]]) await page.waitForSelector(`#${tile}[data-stale="false"]`);
  await eventually("the class as it was", async () => assert.equal(await room.locator("[data-student]").count(), 1));
  await api("POST", `/api/v1/inventory/${item.id}/adjust`, { delta: -4 });
  await shows(inventory, "BRD-1", 20);

  assert.deepEqual(faults, []);
  console.log("every page holds");
} catch (error) {
  console.error(`FAILED to ${step}: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}
