import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import type { Plugin } from "vite";

/**
 * Puts a small classic script into the head, ahead of the first paint. The policy of the page forbids inline scripts,
 * and a module runs only after the page was painted once, in the wrong theme.
 */
export function boot(source: string): Plugin {
  let fileName = source;
  let building = false;
  return {
    name: "fanfare-boot",
    configResolved(config) {
      building = config.command === "build";
    },
    async buildStart() {
      if (!building) return;
      const text = await readFile(source, "utf8");
      const hash = createHash("sha256").update(text).digest("base64url").slice(0, 8);
      fileName = `assets/boot-${hash}.js`;
      this.emitFile({ type: "asset", fileName, source: text });
    },
    transformIndexHtml: {
      order: "post",
      handler: () => [{ tag: "script", attrs: { src: `/${fileName}` }, injectTo: "head-prepend" }],
    },
  };
}
