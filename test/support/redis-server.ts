/** A Redis of its own on a free port, with AOF in a temporary folder; ended by its process id. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";

export type RedisServer = {
  url: string;
  port: number;
  pid(): number;
  /** Starts it again on the same port and folder, after `kill`. */
  start(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
};

/** A TCP port of this machine that nobody uses just now; none that the system could give to an outgoing connection before it is used. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  return once(server, "listening").then(
    () => new Promise((resolve) => server.close(() => resolve(true))),
    () => false,
  );
}

/** Starts a Redis, or a replica of the one at a port, and waits until it answers. Throws when no redis-server is on PATH. */
export async function startRedisServer(replicaOf?: number): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), "glimpse-redis-"));
  const port = await freePort();
  let child: ChildProcess | undefined;
  let exited: Promise<unknown> = Promise.resolve();

  async function start(): Promise<void> {
    const settings = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder];
    const durability = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"];
    const replication = replicaOf === undefined ? [] : ["--replicaof", "127.0.0.1", `${replicaOf}`];
    const quick = ["--repl-diskless-sync-delay", "0"];
    const args = [...settings, ...durability, ...replication, ...quick];
    const process = spawn("redis-server", args, { stdio: "ignore" });
    child = process;
    exited = new Promise((resolve) => {
      process.once("exit", resolve);
      process.once("error", resolve);
    });
    await answers(port, process);
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    child?.kill(signal);
    await exited;
  }

  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: () => child?.pid ?? 0,
    start,
    kill,
    async stop() {
      await kill("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  const redis = new Redis(port, "127.0.0.1", {
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
  });
  redis.on("error", () => {});
  try {
    const deadline = sleep(10_000).then(() => "late");
    const failed = new Promise((resolve) => child.once("error", () => resolve("failed")));
    const outcome = await Promise.race([redis.ping(), failed, deadline]);
    if (outcome !== "PONG") throw new Error("redis-server did not start: is it installed?");
  } finally {
    redis.disconnect();
  }
}
