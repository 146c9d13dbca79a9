import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const source = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What an accessibility checker finds wrong with the page, a line each. */
export async function axe(page) {
  // Handed over as an expression: a script element would break the policy of the page under test.
  await page.evaluate(source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
  return violations.map((v) => `axe ${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} — ${n.any[0]?.message ?? n.all[0]?.message ?? ""}`).join(" | ")}`);
}
