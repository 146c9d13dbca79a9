import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

import { boot } from "./build/boot.ts";
import { precompress } from "./build/precompress.ts";

const server = process.env["FANFARE_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [svelte(), boot("src/boot.js"), precompress()],
  build: {
    // light-dark() and tabular layouts are used as they are, without fallbacks.
    target: ["chrome123", "firefox128", "safari17.5"],
    // Inlined assets would be data: URLs, which the page's policy allows for images only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": server,
      "/ws": { target: server, ws: true },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
