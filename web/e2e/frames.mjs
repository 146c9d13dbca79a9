// Measures what 1,000 updates a second cost the inventory page with 50,000 items: the work of the main thread a frame, by
// the browser's trace, and the memory that stays after the garbage is collected. The updates come from the stand-in
// server, which folds nothing, so the page gets them all.
//   node e2e/frames.mjs [--seconds=60] [--rate=1000] [--items=50000]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { launch } from "./browser.mjs";

const options = Object.fromEntries(process.argv.slice(2).map((arg) => arg.replace(/^--/, "").split("=")));
const seconds = Number(options.seconds ?? 60);
const rate = Number(options.rate ?? 1_000);
const items = Number(options.items ?? 50_000);
const P95_MS = 8;

const mock = spawn(process.execPath, [fileURLToPath(new URL("../dev/mock.mjs", import.meta.url)), "--port=0", `--items=${items}`, `--sales=${rate}`, "--rate=0"]);
const base = /http:\S+/.exec(String((await once(mock.stdout, "data"))[0]))[0];
const browser = await launch();
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
  await page.goto(`${base}/inventory`);
  await page.waitForSelector('#inventory[data-phase="live"]', { timeout: 60_000 });
  await page.waitForTimeout(5_000);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const heapMb = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    const { metrics } = await devtools.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "JSHeapUsedSize").value / 1e6;
  };
  const received = () => page.locator('[data-feed-state="inventory"] .num').first().innerText();

  const heaps = [await heapMb()];
  const before = Number((await received()).replace(/^([\d,]+).*$/s, "$1").replaceAll(",", ""));
  const began = Date.now();
  const events = [];
  devtools.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  const traced = Math.min(20, seconds);
  await devtools.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"], excludedCategories: ["*"] } });
  await page.waitForTimeout(traced * 1_000);
  const complete = new Promise((resolve) => devtools.once("Tracing.tracingComplete", resolve));
  await devtools.send("Tracing.end");
  await complete;
  heaps.push(await heapMb());
  while (Date.now() - began < seconds * 1_000) {
    await page.waitForTimeout(Math.min(10_000, Math.max(0, seconds * 1_000 - (Date.now() - began))));
    heaps.push(await heapMb());
  }
  await page.waitForTimeout(1_100);
  const after = Number((await received()).replace(/^([\d,]+).*$/s, "$1").replaceAll(",", ""));

  // The renderer whose main thread worked most is the page's.
  const tasks = new Map();
  const mains = new Set(events.filter((event) => event.name === "thread_name" && event.args?.name === "CrRendererMain").map(({ pid, tid }) => `${pid} ${tid}`));
  for (const event of events) {
    const key = `${event.pid} ${event.tid}`;
    if (!mains.has(key) || event.ph !== "X" || !/RunTask$/.test(event.name)) continue;
    if (!tasks.has(key)) tasks.set(key, []);
    tasks.get(key).push(event);
  }
  const total = (list) => list.reduce((sum, { dur }) => sum + dur, 0);
  const [key, main] = [...tasks].sort(([, a], [, b]) => total(b) - total(a))[0];
  // A frame's work is what lies between two commits to the compositor.
  const frames = events.filter((event) => `${event.pid} ${event.tid}` === key && event.name === "Commit").map(({ ts }) => ts).sort((a, b) => a - b);
  const tops = main.sort((a, b) => a.ts - b.ts);
  const [wall, cpu] = [[], []];
  let at = 0;
  for (let i = 0; i + 1 < frames.length; i += 1) {
    let [inWall, inCpu] = [0, 0];
    while (at < tops.length && tops[at].ts < frames[i]) at += 1;
    for (let end = 0; at < tops.length && tops[at].ts < frames[i + 1]; at += 1) {
      // Tasks within tasks count once.
      if (tops[at].ts < end) continue;
      end = tops[at].ts + tops[at].dur;
      inWall += tops[at].dur / 1_000;
      inCpu += (tops[at].tdur ?? tops[at].dur) / 1_000;
    }
    wall.push(inWall);
    cpu.push(inCpu);
  }
  if ("costs" in options) costs(events, key, traced);
  const quantile = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
  const ms = (value) => `${value.toFixed(1)} ms`;
  const perSecond = (after - before) / ((Date.now() - began) / 1_000);
  console.log(`${items} items, ${perSecond.toFixed(0)} updates/s taken in, ${(frames.length / traced).toFixed(0)} frames/s`);
  console.log(`main thread a frame, processor time: p50 ${ms(quantile(cpu, 0.5))}, p95 ${ms(quantile(cpu, 0.95))}, p99 ${ms(quantile(cpu, 0.99))}`);
  console.log(`main thread a frame, by the clock:   p50 ${ms(quantile(wall, 0.5))}, p95 ${ms(quantile(wall, 0.95))}, p99 ${ms(quantile(wall, 0.99))}`);
  console.log(`memory after collection: ${heaps.map((heap) => heap.toFixed(1)).join(", ")} MB`);
  if (quantile(cpu, 0.95) > P95_MS) {
    console.error(`FAILED: p95 is over ${P95_MS} ms`);
    process.exitCode = 1;
  }
} finally {
  await browser.close();
  mock.kill();
}

/** What the main thread spends its time on, by kind of work, without what is nested in it. */
function costs(events, key, seconds) {
  const spans = events.filter((event) => `${event.pid} ${event.tid}` === key && event.ph === "X").sort((a, b) => a.ts - b.ts || b.dur - a.dur);
  const [own, stack] = [new Map(), []];
  const add = (name, us, times) => {
    const sum = own.get(name) ?? { us: 0, times: 0 };
    own.set(name, { us: sum.us + us, times: sum.times + times });
  };
  for (const span of spans) {
    while (stack.length > 0 && stack.at(-1).ts + stack.at(-1).dur <= span.ts) stack.pop();
    const detail = span.name === "EventDispatch" ? ` ${span.args?.data?.type}` : span.name === "FunctionCall" ? ` ${span.args?.data?.functionName}` : "";
    span.label = span.name + detail;
    add(span.label, span.dur, 1);
    if (stack.length > 0) add(stack.at(-1).label, -span.dur, 0);
    stack.push(span);
  }
  for (const [name, { us, times }] of [...own].sort(([, a], [, b]) => b.us - a.us).slice(0, 24)) {
    console.log(`${(us / 1_000 / seconds).toFixed(1).padStart(8)} ms/s ${(times / seconds).toFixed(0).padStart(7)} times/s  ${name}`);
  }
}
