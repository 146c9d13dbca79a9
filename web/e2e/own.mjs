import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server with a folder of its own; `end` takes both away. */
export async function ownServer(binary, env = {}) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-page-"));
  const base = `http://127.0.0.1:${await freePort()}`;
  const server = spawn(binary, ["serve", "--listen", base.slice(7), "--data-dir", folder], { stdio: "ignore", env: { ...process.env, ...env } });
  const end = async () => {
    if (server.exitCode === null) await new Promise((resolve) => (server.once("exit", resolve), server.kill()));
    await rm(folder, { recursive: true, force: true });
  };
  for (let tries = 0; !(await fetch(`${base}/health`).then((answer) => answer.ok, () => false)); tries += 1) {
    if (tries > 100) {
      await end();
      throw new Error(`${binary} did not start`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return { base, end };
}
