/** The work of a page's main thread, frame by frame, by the browser's trace. Times are in milliseconds. */
export async function traceFrames(page, seconds, act = () => page.waitForTimeout(seconds * 1_000)) {
  const devtools = await page.context().newCDPSession(page);
  const events = [];
  devtools.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  const categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"];
  await devtools.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: categories, excludedCategories: ["*"] } });
  const began = Date.now();
  await act();
  const tracedS = (Date.now() - began) / 1_000;
  const complete = new Promise((resolve) => devtools.once("Tracing.tracingComplete", resolve));
  await devtools.send("Tracing.end");
  await complete;
  await devtools.detach();

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
  const ofPage = events.filter((event) => `${event.pid} ${event.tid}` === key);
  const commits = ofPage.filter((event) => event.name === "Commit").map(({ ts }) => ts).sort((a, b) => a - b);
  const tops = main.sort((a, b) => a.ts - b.ts);
  const [wall, cpu] = [[], []];
  let at = 0;
  for (let i = 0; i + 1 < commits.length; i += 1) {
    let [inWall, inCpu] = [0, 0];
    while (at < tops.length && tops[at].ts < commits[i]) at += 1;
    for (let end = 0; at < tops.length && tops[at].ts < commits[i + 1]; at += 1) {
      // Tasks within tasks count once.
      if (tops[at].ts < end) continue;
      end = tops[at].ts + tops[at].dur;
      inWall += tops[at].dur / 1_000;
      inCpu += (tops[at].tdur ?? tops[at].dur) / 1_000;
    }
    wall.push(inWall);
    cpu.push(inCpu);
  }
  return { perSecond: commits.length / tracedS, wall, cpu, costs: () => costs(ofPage, tracedS) };
}

export const quantile = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))] ?? NaN;

export function sayFrames(title, { perSecond, wall, cpu }) {
  const line = (list) => [0.5, 0.95, 0.99].map((share) => `p${share * 100} ${quantile(list, share).toFixed(1)} ms`).join(", ");
  console.log(`${title}: ${perSecond.toFixed(0)} frames/s`);
  console.log(`  main thread a frame, processor time: ${line(cpu)}`);
  console.log(`  main thread a frame, by the clock:   ${line(wall)}`);
}

/** What the main thread spends its time on, by kind of work, without what is nested in it. */
function costs(events, seconds) {
  const spans = events.filter((event) => event.ph === "X").sort((a, b) => a.ts - b.ts || b.dur - a.dur);
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
  for (const [name, { us, times }] of [...own].sort(([, a], [, b]) => b.us - a.us).slice(0, 20)) {
    console.log(`${(us / 1_000 / seconds).toFixed(1).padStart(8)} ms/s ${(times / seconds).toFixed(0).padStart(7)} times/s  ${name}`);
  }
}

/** The memory that stays after the garbage is collected, in MB. */
export async function heapMb(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  await devtools.send("HeapProfiler.collectGarbage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  await devtools.detach();
  return metrics.find(({ name }) => name === "JSHeapUsedSize").value / 1e6;
}

/** The slope of a line through points, by least squares. */
export function slope(points) {
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [x, y] = [mean(points.map(([at]) => at)), mean(points.map(([, value]) => value))];
  const over = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0);
  return over / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
}
