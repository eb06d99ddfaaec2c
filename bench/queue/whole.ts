/** The whole path: HTTP, API, ledger, BullMQ, worker; only the engine is a stand-in. */
import type { Job } from "@glimpse/contracts";
import { job } from "@glimpse/contracts";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "undici";
import type { Child } from "./children.ts";
import { startApi, startChild } from "./children.ts";
import { createHttp } from "./http.ts";
import type { System } from "./systems.ts";
import { many, slots } from "./systems.ts";

const workersFile = new URL("./workers.ts", import.meta.url);
/** Workers that share a process: each has an event loop's time enough. */
const workersAProcess = 16;

export type Whole = Awaited<ReturnType<typeof startWhole>>;

/** Starts an API and one worker. */
export async function startWhole(redisUrl: string) {
  const env = { REDIS_URL: redisUrl, KEY_PREFIX: "bench", MODEL_DIR: "models/nano" };
  const api = await startApi(env);
  const http = createHttp(api.url);
  let prompt = "take 0";
  let processes: Child[] = [];
  let refused = 0;

  async function dismiss(): Promise<void> {
    await Promise.all(processes.map((process) => process.stop()));
    processes = [];
  }

  /** Exchanges the workers; `url` is Redis as they see it. */
  async function hire(workers: number, slotsEach: number, url = redisUrl): Promise<void> {
    await dismiss();
    for (let left = workers; left > 0; left -= workersAProcess) {
      const own = { WORKERS: String(Math.min(left, workersAProcess)), SLOTS: String(slotsEach) };
      processes.push(await startChild(workersFile, { ...env, ...own, REDIS_URL: url }));
    }
    await api.knows(workers);
  }

  /** Refused for now, it is sent again as the refusal says, like every client's. */
  async function post(path: string): Promise<string> {
    const json = JSON.stringify({ prompt });
    for (;;) {
      const { status, head, body } = await http.post(path, json);
      if (status <= 202) return body;
      if (status !== 503) throw new Error(`${status} ${body}`);
      refused++;
      await sleep(Number(/^retry-after: *(\d+)/im.exec(head)?.[1]) * 1_000);
    }
  }

  const submit = async () => job.parse(JSON.parse(await post("/v1/jobs")));

  async function ask(): Promise<void> {
    const { state, output } = JSON.parse(await post("/v1/infer?wait=60")) as Job;
    if (state !== "succeeded" || output?.text !== "A circle.") throw new Error(`a job is ${state}`);
  }

  /** Submits a job and resolves at the first piece of its answer. */
  async function firstPiece(): Promise<void> {
    const { links } = await submit();
    const { body } = await request(`${api.url}${links.events}`);
    let isHere = false;
    for await (const part of body) isHere ||= (part as Buffer).includes("event: delta");
    if (!isHere) throw new Error("no piece came");
  }

  await hire(1, slots);
  const system: System = {
    ask,
    run: (jobs) => many(jobs, ask),
    pids: () => ({ api: [api.pid], worker: processes.map(({ pid }) => pid) }),
    async stop() {
      http.close();
      await dismiss();
      await api.stop();
    },
  };
  return {
    ...system,
    submit,
    firstPiece,
    hire,
    /** What the workers do from now on: so many milliseconds a job. */
    take: (ms: number) => void (prompt = `take ${ms}`),
    /** How often the API has answered 503: this machine is too slow for what it is given. */
    refused: () => refused,
    starts: async () => (await Promise.all(processes.map((process) => process.starts()))).flat(),
  };
}
