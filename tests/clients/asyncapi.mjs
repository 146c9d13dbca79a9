// Reads an AsyncAPI document from standard input; prints what is wrong with it, or what it holds.
import { Parser } from "@asyncapi/parser";

let text = "";
for await (const part of process.stdin) text += part;
const { document, diagnostics } = await new Parser().parse(text);
// What is a matter of taste is a hint; warnings and errors count.
const wrong = diagnostics.filter(({ severity }) => severity <= 1);
for (const { code, message, path } of wrong) console.log(`${path.join(".")}: ${message} (${code})`);
if (!document || wrong.length > 0) process.exit(1);
console.log(JSON.stringify({ channels: document.channels().length, messages: document.allMessages().length }));
