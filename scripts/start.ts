// npm start: Redis, the API, a courier and a worker on this machine, one question answered, and a clean end.
import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { keepRunning, type Program, type Running } from "./processes.ts";
import { step } from "./progress.mjs";
import { holdRedis, preparePrivateRedis } from "./redis.ts";
import { askSample, curlLine } from "./sample.ts";
import { Problem, readSettings, type Settings } from "./settings.ts";

const root = join(import.meta.dirname, "..");

/** What runs, in the order in which it was started. */
const running: Running[] = [];
let stopping = false;
/** Whether everything has been ready once; from then on what ends is started again. */
let up = false;

/** Stops everything, the last started first: the worker still needs Redis to end well. */
async function stop(code: number, why: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  console.log(`\n${why}`);
  for (const process of running.splice(0).reverse()) await process.stop();
  process.exit(code);
}

function fail(error: unknown): void {
  void stop(1, error instanceof Problem ? error.message : String((error as Error).stack ?? error));
}

/** Throws a Problem when something listens on the port already. */
async function expectFreePort({ host, port }: Settings): Promise<void> {
  const server = createServer();
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once("error", resolve).listen(port, host, () => server.close(() => resolve(undefined)));
  });
  if (error?.code === "EADDRINUSE") {
    throw new Problem(
      `Port ${port} of ${host} is in use; is Glimpse running already? Choose another: PORT=${port + 1} npm start`,
    );
  }
  if (error) throw new Problem(`Cannot listen on port ${port} of ${host} (${error.code}).`);
}

/** Waits until API and worker say that they are ready, telling what is missing until then. */
async function untilReady(url: string, note: (text: string) => void): Promise<void> {
  for (;;) {
    if (stopping) throw new Problem("not ready in time");
    const response = await fetch(`${url}/ready`).catch(() => undefined);
    if (response?.ok) return;
    const body = (await response?.json().catch(() => undefined)) as
      | { missing?: string[] }
      | undefined;
    note(`waiting for ${body?.missing?.join(", ") ?? "the API"}`);
    await sleep(100);
  }
}

async function start(settings: Settings): Promise<void> {
  const { url, host, port, modelDir, dataDir } = settings;
  const logs = join(dataDir, "logs");
  mkdirSync(logs, { recursive: true });
  const run = (program: Omit<Program, "logFile">) => {
    const logFile = join(logs, `${program.name}.log`);
    rmSync(logFile, { force: true });
    running.push(keepRunning({ ...program, logFile }, () => up, fail));
  };

  let redisUrl = settings.redisUrl;
  if (redisUrl === undefined) {
    const redis = await preparePrivateRedis(join(dataDir, "redis"));
    redisUrl = redis.url;
    const { command, args, folder } = redis;
    run({ name: "redis", command, args, cwd: folder, env: process.env, drainMs: 10_000 });
    await step("private Redis", () => holdRedis(redis.url, 60_000));
  } else {
    const given = redisUrl;
    await step("the Redis of REDIS_URL", () => holdRedis(given, 5000));
  }

  const env = {
    ...process.env,
    HOST: host,
    PORT: String(port),
    REDIS_URL: redisUrl,
    MODEL_DIR: modelDir,
    DATA_DIR: dataDir,
  };
  for (const name of ["api", "courier", "worker"]) {
    const args = ["--import", join(root, "scripts/orphan.mjs"), `apps/${name}/src/main.ts`];
    // They end by themselves within their own, shorter limits.
    run({ name, command: process.execPath, args, cwd: root, env, drainMs: 30_000 });
  }
  await step("API, worker and model", (note) => untilReady(url, note));
  up = true;

  if (settings.hasAuth) {
    console.log("\n  Who asks needs a key: npm run keys -- create --name me");
    console.log(`\n  The page: ${url}/   Logs: ${logs}   Ctrl-C stops everything.`);
    return;
  }
  const sample = await askSample(url).catch((error: unknown) => {
    console.error(`\n${error instanceof Problem ? error.message : String(error)} See ${logs}.`);
  });
  if (sample) {
    const curl = curlLine(url, sample.path, sample.question, process.env.INIT_CWD ?? root);
    console.log(
      `\n  ${sample.question}\n  > ${sample.answer}   (${Math.round(sample.totalMs)} ms)`,
    );
    console.log(`\n  ${curl}`);
  }
  console.log(`\n  The page: ${url}/   Logs: ${logs}   Ctrl-C stops everything.`);
}

/** A second request ends everything at once, unless it comes so soon that npm has only said it twice. */
let askedAt = 0;
function askedToStop(): void {
  if (askedAt && Date.now() - askedAt > 1000) process.exit(130);
  askedAt ||= Date.now();
  void stop(0, "Stopping: the worker finishes what it has begun (Ctrl-C again: at once).");
}
process.on("SIGINT", askedToStop).on("SIGTERM", askedToStop).on("SIGHUP", askedToStop);
process.on("disconnect", askedToStop); // The bootstrap is gone.

try {
  const settings = readSettings(process.env);
  await expectFreePort(settings);
  await start(settings);
} catch (error) {
  if (!stopping) fail(error);
}
