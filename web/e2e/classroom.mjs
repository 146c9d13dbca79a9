// Measures the class page with 300 students at 30 cells each, on a real server: how soon it is there, what a class at work
// costs a frame, and what scrolling through it costs.
//   node e2e/classroom.mjs BINARY|BASE_URL [--students=300] [--cells=30] [--rate=40] [--costs]
import assert from "node:assert/strict";

import { launch } from "./browser.mjs";
import { ownServer } from "./own.mjs";
import { quantile, sayFrames, traceFrames } from "./trace.mjs";

const from = process.argv[2];
const options = Object.fromEntries(process.argv.slice(3).map((arg) => arg.replace(/^--/, "").split("=")));
if (!from) {
  console.error("usage: node e2e/classroom.mjs BINARY|BASE_URL [--students=300] [--cells=30] [--rate=40] [--costs]");
  process.exit(2);
}
const students = Number(options.students ?? 300);
const cells = Number(options.cells ?? 30);
const rate = Number(options.rate ?? 40);
const P95_MS = 8;
const FIRST_ROWS_MS = 1_500;

const { base, end } = /^https?:/.test(from) ? { base: from.replace(/\/$/, ""), end: async () => {} } : await ownServer(from);
let sent = 0;
const event = (student, cell, minutesAgo, hasError) => ({
  eventId: `room-${(sent += 1)}`, eventType: "cell_executed", eventTime: new Date(Date.now() - minutesAgo * 60_000).toISOString(), userId: `s${String(student).padStart(3, "0")}`,
  userName: `Student ${student}`, teamName: "ABCDEFGHIJ"[student % 10], class: "lecture", notebookPath: "lecture.ipynb", cellId: `c${cell}`, cellIndex: cell, cellType: "code", hasError,
  ...(hasError ? { errorMessage: "NameError: name 'df' is not defined" } : {}),
});
async function post(events) {
  const response = await fetch(`${base}/api/v1/events`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(events) });
  assert.ok(response.ok, `events answered ${response.status}`);
}

const browser = await launch();
let traffic;
try {
  const past = [];
  for (let student = 0; student < students; student += 1) {
    const reached = 2 + ((student * 7) % (cells - 4));
    for (let cell = 0; cell <= reached; cell += 1) past.push(event(student, cell, (reached - cell) * 1.5 + 1, (student + cell) % 9 === 0));
  }
  // What is a day's class comes in a minute, so it is sent in parts that the server takes at once.
  for (let at = 0; at < past.length; at += 100) await post(past.slice(at, at + 100));

  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
  for (let tries = 0; ; tries += 1) {
    const known = await (await fetch(`${base}/api/v1/progress/overview?limit=1000`)).json();
    if (known.items.length === students) break;
    assert.ok(tries < 300, `${known.items.length} students are known`);
    await page.waitForTimeout(200);
  }
  await page.goto(`${base}/class`);
  await page.locator("[data-student]").first().waitFor();
  const { paintMs, rowsMs } = await page.evaluate(() => ({ paintMs: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN, rowsMs: performance.now() }));
  const shown = await page.locator("[data-student]").count();
  await page.waitForSelector('#matrix[data-phase="live"]');
  console.log(`${students} students × ${cells} cells: first paint ${paintMs.toFixed(0)} ms, rows after ${rowsMs.toFixed(0)} ms; ${shown} rows in the document`);

  let due = 0;
  traffic = setInterval(() => {
    due += rate / 10;
    const some = [];
    for (; due >= 1; due -= 1) some.push(event(Math.floor(Math.random() * students), Math.floor(Math.random() * cells), 0, Math.random() < 0.25));
    if (some.length > 0) void post(some).catch(() => {});
  }, 100);
  await page.waitForTimeout(3_000);
  const work = await traceFrames(page, 15);
  if ("costs" in options) work.costs();
  sayFrames(`a class at work, ${rate} runs/s`, work);

  const lane = page.locator("#matrix .lane");
  await lane.hover();
  const scroll = await traceFrames(page, 10, async () => {
    for (let turn = 0; turn < 150; turn += 1) {
      await page.mouse.wheel(0, turn < 75 ? 120 : -120);
      await page.waitForTimeout(33);
    }
  });
  if ("costs" in options) scroll.costs();
  sayFrames("the same while it is scrolled", scroll);
  assert.ok((await page.locator("[data-student]").count()) < students, "the rows are not virtualized");
  for (const [what, list] of [["work", work.cpu], ["scroll", scroll.cpu]]) {
    if (quantile(list, 0.95) > P95_MS) {
      console.error(`FAILED: p95 of ${what} is over ${P95_MS} ms`);
      process.exitCode = 1;
    }
  }
  if (rowsMs > FIRST_ROWS_MS) {
    console.error(`FAILED: the rows took more than ${FIRST_ROWS_MS} ms`);
    process.exitCode = 1;
  }
} finally {
  clearInterval(traffic);
  await browser.close();
  await end();
}
