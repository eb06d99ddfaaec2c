/** The processes that are measured, each with its logs thrown away but written; and what they are asked. */
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { readiness } from "@glimpse/contracts";
import { freePort } from "@glimpse/test/redis-server";

const orphan = new URL("../../scripts/orphan.mjs", import.meta.url).href;
const apiFile = new URL("../../apps/api/src/main.ts", import.meta.url);

export type Child = {
  pid: number;
  /** Milliseconds since 1970 at which each job was begun since the last time this was asked. */
  starts(): Promise<number[]>;
  /** Resolves when this many jobs have been ended since the last time this was asked. */
  ended(jobs: number): Promise<void>;
  stop(): Promise<void>;
};

export type Ask = { ask: "starts" } | { ask: "ended"; jobs: number };

/** Starts a file that says "ready" and then answers. */
export async function startChild(file: URL, env: Record<string, string>): Promise<Child> {
  const child = spawnChild(file, env);
  await Promise.race([once(child, "message"), diesOf(child)]);
  const ask = async (question: Ask) => {
    child.send(question);
    const [answer] = (await once(child, "message")) as [unknown];
    return answer;
  };
  return {
    pid: child.pid ?? 0,
    starts: async () => (await ask({ ask: "starts" })) as number[],
    ended: async (jobs) => void (await ask({ ask: "ended", jobs })),
    stop: () => end(child),
  };
}

/** Starts an API and waits until it answers. */
export async function startApi(env: Record<string, string>) {
  const port = await freePort();
  const child = spawnChild(apiFile, { ...env, PORT: String(port) });
  const url = `http://127.0.0.1:${port}`;
  const answers = async () => {
    while (!(await fetch(`${url}/healthz`).catch(() => null))) await sleep(50);
  };
  await Promise.race([answers(), diesOf(child)]);
  return {
    url,
    pid: child.pid ?? 0,
    /** Waits until this many workers have said that they are alive. */
    async knows(workers: number): Promise<void> {
      for (;;) {
        const answer = readiness.parse(await (await fetch(`${url}/ready`)).json());
        if (answer.workers.length === workers) return;
        await sleep(50);
      }
    },
    stop: () => end(child),
  };
}

function spawnChild(file: URL, env: Record<string, string>): ChildProcess {
  return fork(file, {
    env: { PATH: process.env.PATH, ...env },
    execArgv: ["--import", orphan],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

/** Rejects when the child ends; its last words are on our own stderr. */
async function diesOf(child: ChildProcess): Promise<never> {
  await once(child, "exit");
  throw new Error(`${child.spawnargs.at(-1)} ended`);
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}
