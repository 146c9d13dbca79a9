import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import type { Plugin } from "vite";

const COMPRESSIBLE = /\.(?:html|js|css|svg|json|txt|webmanifest)$/;
/** Below this, the response headers outweigh what compression saves. */
const WORTHWHILE_BYTES = 512;
/** A dashboard opens over slow links too: the first load, any one page with it, must stay below this. */
const BUDGET_BYTES = 150 * 1000;

/** Writes `.br` and `.gz` files beside each text file of the build, and fails it when the page outgrows its budget. */
export function precompress(): Plugin {
  let directory = "dist";
  const pages = new Map<string, Set<string>>();
  return {
    name: "fanfare-precompress",
    apply: "build",
    configResolved(config) {
      directory = config.build.outDir;
    },
    generateBundle(_, bundle) {
      // Which files each page needs: its own chunk, what that imports, and their style sheets.
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk" || !chunk.facadeModuleId?.includes("/src/pages/")) continue;
        const files = new Set<string>();
        const add = (name: string): void => {
          if (files.has(name)) return;
          files.add(name);
          const part = bundle[name];
          if (part?.type !== "chunk") return;
          part.imports.forEach(add);
          const meta = (part as { viteMetadata?: { importedCss: Set<string> } }).viteMetadata;
          meta?.importedCss.forEach((sheet) => files.add(sheet));
        };
        add(chunk.fileName);
        pages.set(chunk.facadeModuleId.split("/").at(-1)!.replace(".svelte", ""), files);
      }
    },
    async closeBundle() {
      const sizes = new Map<string, number>();
      for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const raw = await readFile(path);
        if (raw.length < WORTHWHILE_BYTES) {
          sizes.set(relative(directory, path), raw.length);
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
        sizes.set(relative(directory, path), brotli.length);
      }
      // What the document names is loaded first; then the largest of the pages, with all that it imports.
      const document = await readFile(join(directory, "index.html"), "utf8");
      const first = new Set(["index.html", ...[...document.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => match[1]!)]);
      let largest = 0;
      for (const [page, files] of pages) {
        const all = new Set([...first, ...files]);
        const bytes = [...all].reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
        console.log(`${page}: ${(bytes / 1000).toFixed(1)} kB compressed`);
        largest = Math.max(largest, bytes);
      }
      if (largest > BUDGET_BYTES) throw new Error(`a page takes ${largest} compressed bytes, more than its budget of ${BUDGET_BYTES}`);
    },
  };
}
