// Proves that a browser's EventSource misses nothing and gets nothing twice when its server is killed or ends.
//   node e2e/events.mjs BASE_URL OTHER_URL
// Both are nodes on one Redis. What it wants done to the first it writes as a line that begins with "do:", and goes on when
// a line comes back on its standard input.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";

import { launch } from "./browser.mjs";

const [base, other] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let published = 0;

async function have(done) {
  console.log(`do:${done}`);
  if ((await lines.next()).done) throw new Error(`nobody did: ${done}`);
}

/** By the other node, so that it works while the browser's own is away. */
async function publish(count) {
  for (let n = 0; n < count; n++) {
    published += 1;
    const body = JSON.stringify({ channel: "inventory:updates", data: { sku: "A", n: published } });
    const answer = await fetch(`${other}/api/publish`, { method: "POST", headers: { "content-type": "application/json" }, body });
    assert.ok(answer.ok, `POST /api/publish answered ${answer.status}`);
  }
}

const browser = await launch();
try {
  const page = await browser.newPage();
  await page.goto(`${base}/`);
  await page.evaluate(() => {
    window.seen = [];
    window.opened = 0;
    window.closes = [];
    const source = new EventSource("/sse/inventory?sku=A");
    source.onopen = () => { window.opened += 1; };
    source.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.n) window.seen.push(message.n);
      else if (message.message_type !== "reconnect") window.seen.push(message.message_type);
    };
    source.addEventListener("close", ({ data }) => window.closes.push(JSON.parse(data).code));
  });
  const until = (condition, value) => page.waitForFunction(condition, value, { timeout: 20_000 });
  await until(() => window.opened === 1);
  await publish(20);
  await until((n) => window.seen.length >= n, 20);

  await have("restart first"); // kill -9
  await publish(20);
  await until((n) => window.seen.length >= n, 40);

  await have("terminate first");
  await publish(20);
  await have("start first");
  await until((n) => window.seen.length >= n, 60);
  await publish(1);
  await until((n) => window.seen.length >= n, 61);

  assert.deepEqual(await page.evaluate(() => window.seen), Array.from({ length: 61 }, (_, n) => n + 1));
  assert.deepEqual(await page.evaluate(() => window.closes), [1012]);
  assert.ok((await page.evaluate(() => window.opened)) >= 3);
  console.log("nothing was lost");
} finally {
  await browser.close();
}
process.exit(0);
