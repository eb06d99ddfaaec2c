/** The worker put together: takes jobs from the queue, performs them, says that it is alive, and ends in order. */
import { setTimeout as sleep } from "node:timers/promises";
import { jobErrorOf, jobKind, queuePayload } from "@glimpse/contracts";
import {
  BlobError,
  connectRedis,
  createKeys,
  createLedger,
  isRedisUnavailable,
  openBlobs,
  Subscriber,
} from "@glimpse/ledger";
import type { Logger, LoopDelay } from "@glimpse/telemetry";
import type { Job } from "bullmq";
import { DelayedError, UnrecoverableError, WaitingError } from "bullmq";
import type { Config } from "./config.ts";
import type { Leave } from "./gate.ts";
import { Gate } from "./gate.ts";
import type { End, Generator, Performed } from "./perform.ts";
import { createPerform } from "./perform.ts";
import { Pump } from "./pump.ts";
import { putBack } from "./release.ts";

const beatEveryMs = 2_000;

/**
 * BullMQ's own count of lost workers, of the innocent as well; whose fault it was the ledger knows better. This is for a job
 * that brings workers down before the ledger hears of it.
 */
const maxStalledCount = 20;

/** When to look again at a job that only a later release can read, and at one that could not be stored. */
const parkMs = 15_000;
const putOffMs = 1_000;

export type WorkerDeps = {
  config: Config;
  engine: Generator;
  log: Logger;
  loopDelay: () => LoopDelay;
};

/** Starts to take jobs. `stop` waits for those that run, hands back what the grace does not suffice for, and closes all it opened. */
export async function startWorker({ config, engine, log, loopDelay }: WorkerDeps) {
  const { shard, retentionS, served, slots } = config;
  const id = config.workerId;
  const connect = () =>
    connectRedis(config.redisUrl, "patient", (error) =>
      log.warn({ error }, "redis connection lost"),
    );
  const redis = connect();
  const bulk = connect();
  const listening = connect();
  const keys = createKeys(config.keyPrefix);
  const ledger = createLedger(redis, keys, { shard, retentionS });
  const blobs = await openBlobs(config.blobs, { redis, bulk }, keys, {
    shard,
    retentionS,
    budgetBytes: config.maxBlobBytes,
  });
  const subscriber = new Subscriber(listening);
  // Held for as long as the worker lives, so that no job waits until its channel is subscribed.
  await subscriber.subscribe(keys.control(shard), () => {});
  const perform = createPerform({
    engine,
    ledger,
    blobs,
    subscriber,
    keys,
    log,
    pieceIntervalMs: 30,
  });
  const gate = new Gate();
  const drain = new AbortController();
  const stopping = new AbortController();
  let ended = 0;

  const pump = new Pump(served.version, processJob, {
    connection: redis,
    prefix: keys.queue(shard),
    name: id,
    concurrency: slots,
    mayTake: () => !gate.isClosed,
    // A killed worker's job is taken up when its lock has run out, 3 to 4 s after the death, and somebody has looked: two
    // checks later at most, since the one that is a moment early for Redis is not carried out.
    lockDuration: 4_000,
    lockRenewTime: 1_000,
    stalledInterval: 500,
    maxStalledCount,
    runRetryDelay: 1_000,
    drainDelay: 5,
    onPoisoned: (job) =>
      fail(job, jobErrorOf("worker_crashed", "The job brought its workers down.")),
  });
  pump.on("error", (error) => {
    if (!isRedisUnavailable(error)) log.warn({ error }, "queue");
  });
  pump.on("stalled", (job) => log.warn({ job }, "a worker lost this job; it is queued again"));

  async function processJob(job: Job, token?: string): Promise<void> {
    const payload = queuePayload.safeParse(job.data);
    if (!payload.success) {
      await fail(job, jobErrorOf("internal_error", "The job's entry in the queue cannot be read."));
      throw new UnrecoverableError("unreadable payload");
    }
    if ((payload.data.kind ?? jobKind) !== jobKind) {
      log.warn({ job: job.id, kind: payload.data.kind }, "parked for a later release");
      return putOff(job, token, parkMs);
    }
    let performed: Performed = "done";
    async function notRun(error: unknown): Promise<never> {
      const isLastTry = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
      if (isLastTry && !isRedisUnavailable(error))
        await fail(job, jobErrorOf("internal_error", "The job could not be run."));
      throw error;
    }
    try {
      performed = await performInTurn(payload.data.id, (finish) => {
        pump.endWith(payload.data.id, (leave) => finish(leave).catch(notRun));
      });
    } catch (error) {
      if (isRedisUnavailable(error) || error instanceof BlobError)
        return putOff(job, token, putOffMs);
      await notRun(error);
    }
    if (performed === "done") return void ended++;
    if (typeof performed === "object") await job.changePriority({ priority: performed.postponed });
    await putBack(payload.data.id, token ?? "", { redis, queue: pump });
    throw new WaitingError();
  }

  /** In company if it may, else alone, when all others are done. What has not begun when the worker is to stop never does. */
  async function performInTurn(job: string, end: End): Promise<Performed> {
    const inCompany = await performInside(job, false, end, await gate.enter(stopping.signal));
    if (inCompany !== "suspect") return inCompany;
    return performInside(job, true, end, await gate.enterAlone(stopping.signal));
  }

  async function performInside(
    job: string,
    alone: boolean,
    end: End,
    leave: Leave | null,
  ): Promise<Performed> {
    if (leave === null) return "handed back";
    try {
      return await perform(job, alone, drain.signal, end);
    } finally {
      leave();
    }
  }

  /** Takes the job out of the way for a while, no try spent. */
  async function putOff(job: Job, token: string | undefined, ms: number): Promise<never> {
    await job.moveToDelayed(Date.now() + ms * (1 + Math.random()), token);
    throw new DelayedError();
  }

  async function fail(job: Job, error: ReturnType<typeof jobErrorOf>): Promise<void> {
    log.error({ job: job.id, code: error.code }, "job given up");
    if (job.id !== undefined) await ledger.fail(job.id, error);
  }

  function beat(): Promise<void> {
    const worker = {
      id,
      ...served,
      slots,
      running: pump.inFlight,
      event_loop_delay_ms: loopDelay(),
    };
    return ledger.beat(worker, 3 * beatEveryMs);
  }

  await pump.waitUntilReady();
  await beat();
  const running = pump.run();
  running.catch((error: unknown) => log.fatal({ error }, "the pump broke"));
  const beating = every(beatEveryMs, beat);

  async function every(ms: number, task: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await task().catch((error: unknown) => log.warn({ error }, "a periodic task failed"));
      await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }

  return {
    id,
    /** Jobs that run, and those that have come to an end here. */
    report: () => ({ running: pump.inFlight, ended }),
    /** Resolves when everything is closed. `now` skips the grace. */
    async stop(): Promise<void> {
      stopping.abort();
      const grace = setTimeout(() => drain.abort(), config.graceMs);
      const closed = pump.close();
      await beating;
      await ledger.retire(id);
      await closed;
      clearTimeout(grace);
      for (const connection of [redis, bulk, listening]) connection.disconnect();
    },
    /** Ends the grace: running jobs are handed back now. */
    handBack: () => drain.abort(),
  };
}
