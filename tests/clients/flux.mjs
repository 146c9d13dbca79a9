// Reads a JSON list of Flux texts from standard input and prints, for each, whether InfluxData's own compiler accepts it.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const name = '@influxdata/flux-lsp-browser';
const file = (end) => createRequire(import.meta.url).resolve(`${name}/flux-lsp-browser_bg.${end}`);

// The package is made for bundlers: it imports its WebAssembly as a module, which Node does not do yet.
const late = [];
const glue = fs
  .readFileSync(file('js'), 'utf8')
  .replace(/^cached\w+ = new \w+\(wasm\.memory\.buffer\);$/gm, (line) => (late.push(line), ''))
  .replace(/^import \* as wasm .*$/m, () => `let wasm; export function begin(exports) { wasm = exports; ${late.join(' ')} }`);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ff-flux-'));
fs.writeFileSync(path.join(folder, 'glue.mjs'), glue);
const flux = await import(pathToFileURL(path.join(folder, 'glue.mjs')));
fs.rmSync(folder, { recursive: true });

const module = await WebAssembly.compile(fs.readFileSync(file('wasm')));
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = flux[name];
flux.begin((await WebAssembly.instantiate(module, imports)).exports);

const texts = JSON.parse(fs.readFileSync(0, 'utf8'));
console.log(JSON.stringify(texts.map((text) => flux.is_valid_flux(text) && new flux.Flux(text).is_valid())));
