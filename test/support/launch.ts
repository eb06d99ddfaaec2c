/** The whole system as a user starts it: `npm start`, on a port and in a data folder of its own. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./redis-server.ts";

const root = join(import.meta.dirname, "../..");
const readyLine = "Ctrl-C stops everything";

export type Launch = {
  /** All that `npm start` has printed so far. */
  output(): string;
  /** Resolves with npm's exit code when it has ended. */
  ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
};

/** Runs `npm start` with the given variables; a REDIS_URL of the surroundings is not passed on. */
export function launch(env: Record<string, string>): Launch {
  const child: ChildProcess = spawn("npm", ["start"], {
    cwd: root,
    env: { ...process.env, REDIS_URL: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => (text += chunk));
  child.stderr?.on("data", (chunk: Buffer) => (text += chunk));
  return {
    output: () => text,
    ended: once(child, "close").then(([code]) => code as number | null),
    kill: (signal) => void child.kill(signal),
  };
}

export type System = Launch & { url: string; port: number; dataDir: string };

/** Starts the system and waits until it has answered its sample, if it may. Throws, with its output, when it ends first. */
export async function startSystem(
  dataDir: string,
  env: Record<string, string> = {},
): Promise<System> {
  const port = await freePort();
  const launched = launch({ PORT: String(port), DATA_DIR: dataDir, ...env });
  let over = false;
  void launched.ended.then(() => (over = true));
  while (!launched.output().includes(readyLine)) {
    if (over) throw new Error(`npm start ended:\n${launched.output()}`);
    await sleep(50);
  }
  return { ...launched, url: `http://127.0.0.1:${port}`, port, dataDir };
}

/** A data folder, and what removes it. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "glimpse-data-"));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 10 }) };
}

/** The port of the private Redis in a data folder. */
export async function privateRedisPort(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, "redis/redis.conf"), "utf8");
  return Number(/^port (\d+)$/m.exec(text)?.[1]);
}
