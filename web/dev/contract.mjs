// Writes src/contract/*.ts from the server's own documents: `node dev/contract.mjs [--check] <fanfare>`.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const HEAD = "// Generated from the server's contract by `npm run contract`; do not edit.\n\n";
const folder = new URL("../src/contract/", import.meta.url);

const [program, check] = [process.argv.slice(2).find((arg) => !arg.startsWith("--")), process.argv.includes("--check")];
if (!program) throw new Error("usage: node dev/contract.mjs [--check] <path of the fanfare binary>");

const ask = (document) => JSON.parse(execFileSync(program, ["contract", document], { maxBuffer: 1 << 26 }));

const word = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
const title = (name) => name.replace(/(^|[_.-])(\w)/g, (_, __, letter) => letter.toUpperCase());
const comment = (text, indent) => (text ? `${indent}/** ${text.trim().replace(/\s*\n\s*/g, " ").replace(/\*\//g, "* /")} */\n` : "");

/** A JSON schema as a TypeScript type. */
function type(schema, indent = "") {
  if (schema === true || schema === undefined || Object.keys(schema).length === 0) return "unknown";
  if (schema.$ref) return title(schema.$ref.split("/").at(-1));
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return [...new Set(choices.map((choice) => type(choice, indent)))].join(" | ");
  const parts = (schema.allOf ?? []).filter((part) => !part.if).map((part) => type(part, indent));
  const types = [schema.type ?? (schema.properties ? "object" : [])].flat();
  if (types.length > 0) parts.push(types.map((name) => simple(name, schema, indent)).join(" | "));
  return parts.length > 1 ? parts.map((part) => (part.includes(" | ") ? `(${part})` : part)).join(" & ") : (parts[0] ?? "unknown");
}

function simple(name, schema, indent) {
  if (name === "integer" || name === "number") return "number";
  if (name !== "array" && name !== "object") return name;
  if (name === "array") {
    const item = type(schema.items, indent);
    return /[|&]/.test(item) ? `(${item})[]` : `${item}[]`;
  }
  const fields = Object.entries(schema.properties ?? {});
  if (fields.length === 0) {
    const rest = schema.additionalProperties;
    return `Record<string, ${rest && rest !== true ? type(rest, indent) : "unknown"}>`;
  }
  const inner = `${indent}  `;
  const lines = fields.map(([field, of]) => {
    const sign = schema.required?.includes(field) ? "" : "?";
    return `${comment(of.description, inner)}${inner}${word(field)}${sign}: ${type(of, inner)};\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

function declare(name, schema) {
  const written = type(schema);
  const plain = written.startsWith("{\n") && written.indexOf("\n}") === written.length - 2;
  const shape = plain ? `export interface ${title(name)} ${written}` : `export type ${title(name)} = ${written};`;
  return `${comment(schema.description, "")}${shape}\n`;
}

const declared = (schemas) => Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, schema]) => declare(name, schema));

function api() {
  const { paths, components } = ask("openapi");
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, { operationId, responses }]) => {
      const json = Object.entries(responses).find(([status]) => status.startsWith("2"))?.[1]?.content?.["application/json"];
      return `  ${word(operationId)}: { method: "${method.toUpperCase()}"; path: ${JSON.stringify(path)}; answer: ${json ? type(json.schema, "  ") : "undefined"} };\n`;
    }),
  );
  const list = `/** Every operation by its name: where it is, and what a success answers. */\nexport interface Operations {\n${operations.sort().join("")}}\n`;
  return [...declared(components.schemas), list];
}

function messages() {
  const { channels, components } = ask("asyncapi");
  const names = Object.keys(components.messages).sort();
  const feeds = Object.entries(channels).filter(([, channel]) => channel.address.startsWith("/"));
  const lines = feeds.map(([name, { address, messages: carried }]) => {
    const heard = Object.keys(carried).filter((message) => message !== "ping");
    return `  ${word(name)}: { path: ${JSON.stringify(address)}; message: ${heard.map(title).join(" | ")} };\n`;
  });
  const feed = `/** Every feed: where it is, and what its clients hear. */\nexport interface Feeds {\n${lines.join("")}}\n`;
  const any = `export type AnyMessage = ${names.filter((name) => name !== "ping").map(title).join(" | ")};\n`;
  return [...declared(components.schemas), feed, any];
}

let stale = false;
for (const [file, parts] of [["api.ts", api()], ["messages.ts", messages()]]) {
  const [path, text] = [new URL(file, folder), HEAD + parts.join("\n")];
  let present = "";
  try {
    present = readFileSync(path, "utf8");
  } catch {
    // It is made now.
  }
  if (present === text) continue;
  if (check) {
    stale = true;
    console.error(`src/contract/${file} is not what the server says: run \`npm run contract\``);
  } else writeFileSync(path, text);
}
process.exit(stale ? 1 : 0);
