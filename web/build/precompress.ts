import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import type { Plugin } from "vite";

const COMPRESSIBLE = /\.(?:html|js|css|svg|json|txt|webmanifest)$/;
/** Below this, the response headers outweigh what compression saves. */
const WORTHWHILE_BYTES = 512;
/** A dashboard opens over slow links too: the first load must stay below this. */
const BUDGET_BYTES = 60 * 1024;

/** Writes `.br` and `.gz` files beside each text file of the build, and fails it when the page outgrows its budget. */
export function precompress(): Plugin {
  let directory = "dist";
  return {
    name: "fanfare-precompress",
    apply: "build",
    configResolved(config) {
      directory = config.build.outDir;
    },
    async closeBundle() {
      let total = 0;
      for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const raw = await readFile(path);
        if (raw.length < WORTHWHILE_BYTES) {
          total += raw.length;
          continue;
        }
        const brotli = brotliCompressSync(raw, {
          params: {
            [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
            [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
          },
        });
        await writeFile(`${path}.br`, brotli);
        await writeFile(`${path}.gz`, gzipSync(raw, { level: 9 }));
        total += brotli.length;
      }
      if (total > BUDGET_BYTES) {
        throw new Error(`the page takes ${total} compressed bytes, more than its budget of ${BUDGET_BYTES}`);
      }
      console.log(`first load: ${(total / 1024).toFixed(1)} kB compressed`);
    },
  };
}
