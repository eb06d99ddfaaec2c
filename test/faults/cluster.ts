/** The whole system as processes that are started again whenever they die, each on lines of its own that can be broken. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RedisServer } from "../support/redis-server.ts";
import { freePort, startRedisServer } from "../support/redis-server.ts";
import type { Proxy } from "../support/proxy.ts";
import { startProxy } from "../support/proxy.ts";
import type { Running } from "../support/process.ts";
import { startProcess } from "../support/process.ts";
import type { Entry } from "./checker.ts";

const root = join(import.meta.dirname, "../..");
const inject = new URL("../support/inject.ts", import.meta.url).href;
const files = {
  api: join(root, "apps/api/src/main.ts"),
  courier: join(root, "apps/courier/src/main.ts"),
  /** One worker and the process that watches over it. */
  fleet: join(root, "test/support/scripted-fleet.ts"),
  /** A worker that nobody watches over, as when a whole machine dies. */
  worker: join(root, "test/support/scripted-worker.ts"),
};

export type Kind = keyof typeof files;
type Env = Record<string, string>;

export type Member = {
  kind: Kind;
  /** Its line to Redis. */
  redisLine: Proxy;
  /** Its clients' line to it; an API only. */
  door: Proxy | undefined;
  /** The process just now; after a death the next one. */
  running: Running;
  /** Ends the present process by the signal; resolves to its exit code once it is gone. Another one follows. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
  /** The processes that do the work: a fleet's workers, else the process itself. */
  workPids(): number[];
  /** Lets it die, once, when it next comes to the place that KILL_AT names. */
  layFuse(): Promise<void>;
  /** Whether it is still there, which is until the moment of death. */
  isFuseLaid(): boolean;
  /** Resolves when the process that follows `previous` is ready. */
  successor(previous: Running): Promise<void>;
};

export type Cluster = Awaited<ReturnType<typeof startCluster>>;

type Options = {
  apis?: number;
  couriers?: number;
  /** Fleets, or bare workers, and how many. */
  workers?: number;
  workerKind?: "fleet" | "worker";
  /** On top of the environment of every process. */
  env?: Env;
  /** On top of that, asked at each start of a process: faults inside it (inject.ts). */
  envOfStart?: (kind: Kind, isFirst: boolean) => Env;
  restartAfterMs?: number;
};

/** Starts everything and waits until it is ready. */
export async function startCluster({
  apis = 1,
  couriers = 1,
  workers = 1,
  workerKind = "fleet",
  env = {},
  envOfStart = () => ({}),
  restartAfterMs = 100,
}: Options = {}) {
  const redis = await startRedisServer();
  const folder = await mkdtemp(join(tmpdir(), "glimpse-faults-"));
  const prefix = `faults-${randomUUID()}`;
  const ended: Running[] = [];
  let stopping = false;

  async function keep(kind: Kind): Promise<Member> {
    const redisLine = await startProxy(redis.port);
    const fuse = join(folder, randomUUID());
    const port = kind === "api" ? await freePort() : undefined;
    const launch = (isFirst: boolean) =>
      startProcess(files[kind], {
        NODE_OPTIONS: `--import ${inject}`,
        REDIS_URL: redisLine.url,
        KEY_PREFIX: prefix,
        MODEL_DIR: join(root, "models/nano"),
        DATA_DIR: folder,
        KILL_FUSE: fuse,
        ...(port !== undefined && { PORT: String(port) }),
        ...env,
        ...envOfStart(kind, isFirst),
      });
    const member: Member = {
      kind,
      redisLine,
      door: port === undefined ? undefined : await startProxy(port),
      running: launch(true),
      kill: (signal) => member.running.kill(signal),
      workPids: () => (kind === "fleet" ? workersOf(member.running) : [member.running.pid]),
      layFuse: () => writeFile(fuse, ""),
      isFuseLaid: () => existsSync(fuse),
      async successor(previous) {
        await previous.exited;
        while (member.running === previous) await sleep(10);
        await member.running.logged("ready");
      },
    };
    async function again(): Promise<void> {
      await member.running.exited;
      ended.push(member.running);
      await sleep(restartAfterMs);
      if (stopping) return;
      member.running = launch(false);
      void again();
    }
    void again();
    return member;
  }

  const kinds = [
    ...Array<Kind>(apis).fill("api"),
    ...Array<Kind>(workers).fill(workerKind),
    ...Array<Kind>(couriers).fill("courier"),
  ];
  const members = await Promise.all(kinds.map(keep));

  /** Every line of every process, dead or alive. */
  const logs = () =>
    [...new Set([...ended, ...members.map(({ running }) => running)])].flatMap(({ log }) => log);

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(members.map((member) => member.kill("SIGKILL")));
    for (const { redisLine, door, running, kind } of members) {
      if (kind === "fleet") for (const pid of workersOf(running)) killQuietly(pid);
      redisLine.close();
      door?.close();
    }
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }

  await Promise.all(members.map(({ running }) => running.logged("ready"))).catch(
    async (error: unknown) => {
      await stop();
      throw error;
    },
  );
  return {
    redis,
    prefix,
    members,
    apis: members.filter(({ kind }) => kind === "api"),
    workers: members.filter(({ kind }) => kind === workerKind),
    logs,
    /** Where clients reach the APIs, through lines that can be broken. */
    urls: members.flatMap(({ door }) => (door ? [`http://127.0.0.1:${door.port}`] : [])),
    /** What the workers said of their jobs. */
    workersWords(): Entry[] {
      return logs().flatMap(({ msg, job, attempt, state, final }): Entry[] => {
        const run = { id: String(job), attempt: Number(attempt) };
        if (msg === "job started") return [{ type: "started", ...run }];
        if (msg === "job ended" && final === true)
          return [{ type: "committed", ...run, state: String(state) }];
        return [];
      });
    },
    /** Mends every line. */
    async heal(): Promise<void> {
      for (const { redisLine, door } of members) {
        await redisLine.heal();
        await door?.heal();
      }
    },
    /** From now on this Redis is everybody's. */
    moveTo({ port }: RedisServer): void {
      for (const { redisLine } of members) redisLine.redirect(port);
    },
    /** Ends every process and Redis, and removes what they wrote. */
    stop,
  };
}

/** The workers that a fleet has started and not seen die. */
function workersOf({ log }: Running): number[] {
  const dead = new Set(
    log.filter(({ msg }) => msg === "a worker died").map(({ worker }) => worker),
  );
  return log
    .filter(({ msg, worker }) => msg === "a worker starts" && !dead.has(worker))
    .map(({ pid }) => Number(pid));
}

/** Sends SIGKILL, to a process that may be gone already. */
export function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is gone.
  }
}
