/** An API, a worker and a courier as processes of their own, over a given Redis and under a prefix of their own. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./redis-server.ts";
import type { Running } from "./process.ts";
import { startProcess } from "./process.ts";

const root = join(import.meta.dirname, "../..");
const workerFiles = {
  nano: join(root, "apps/worker/src/main.ts"),
  scripted: join(import.meta.dirname, "scripted-worker.ts"),
  "scripted fleet": join(import.meta.dirname, "scripted-fleet.ts"),
};

export type System = Awaited<ReturnType<typeof startSystem>>;

type Options = {
  redisUrl: string;
  engine: keyof typeof workerFiles;
  env?: Record<string, string>;
};

/** Starts one of each, and waits until all are ready. */
export async function startSystem({ redisUrl, engine, env = {} }: Options) {
  const prefix = `test-${randomUUID()}`;
  const dataDir = await mkdtemp(join(tmpdir(), "glimpse-system-"));
  const shared = {
    REDIS_URL: redisUrl,
    KEY_PREFIX: prefix,
    MODEL_DIR: join(root, "models/nano"),
    DATA_DIR: dataDir,
    // Scripted jobs run one after the other, so that tests can make one wait.
    ...(engine === "scripted" && { SLOTS: "1" }),
    ...env,
  };
  const started: Running[] = [];

  async function start(file: string, more: Record<string, string>): Promise<Running> {
    const process = startProcess(file, { ...shared, ...more });
    started.push(process);
    await process.logged("ready");
    return process;
  }

  async function startApi(more: Record<string, string> = {}) {
    const port = await freePort();
    const api = await start(join(root, "apps/api/src/main.ts"), { PORT: String(port), ...more });
    return { api, url: `http://127.0.0.1:${port}` };
  }

  const startWorker = (more: Record<string, string> = {}) => start(workerFiles[engine], more);

  const startCourier = () => start(join(root, "apps/courier/src/main.ts"), {});

  async function stop(): Promise<void> {
    await Promise.all(started.map((process) => process.kill("SIGKILL")));
    await rm(dataDir, { recursive: true, force: true });
  }

  const all = Promise.all([startApi(), startWorker(), startCourier()]);
  const [{ api, url }, worker, courier] = await all.catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    prefix,
    url,
    api,
    worker,
    courier,
    startApi,
    startWorker,
    startCourier,
    /** Ends every process that was started. */
    stop,
  };
}
