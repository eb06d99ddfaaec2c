/** The worker put together: takes jobs from the queue, performs them, says that it is alive, and ends in order. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { jobErrorOf, queuePayload } from "@glimpse/contracts";
import {
  connectRedis,
  createKeys,
  createLedger,
  createQueues,
  createRedisBlobs,
  isRedisUnavailable,
  Subscriber,
  sweepPending,
} from "@glimpse/ledger";
import type { Logger, LoopDelay } from "@glimpse/telemetry";
import type { Job } from "bullmq";
import { UnrecoverableError, WaitingError } from "bullmq";
import type { Config } from "./config.ts";
import type { Generator } from "./perform.ts";
import { createPerform } from "./perform.ts";
import { Pump } from "./pump.ts";

const beatEveryMs = 2_000;
const sweepEveryMs = 1_000;

/** A job may bring down this many workers and be tried once more. */
const maxStalledCount = 2;

export type WorkerDeps = {
  config: Config;
  engine: Generator;
  log: Logger;
  loopDelay: () => LoopDelay;
};

/** Starts to take jobs. `stop` waits for those that run, hands back what the grace does not suffice for, and closes all it opened. */
export async function startWorker({ config, engine, log, loopDelay }: WorkerDeps) {
  const { shard, retentionS, served, slots } = config;
  const id = randomUUID();
  const connect = () =>
    connectRedis(config.redisUrl, "patient", (error) =>
      log.warn({ error }, "redis connection lost"),
    );
  const redis = connect();
  const bulk = connect();
  const listening = connect();
  const keys = createKeys(config.keyPrefix);
  const ledger = createLedger(redis, keys, { shard, retentionS });
  const queues = createQueues(redis, keys, { timeoutMs: 10_000 });
  const blobs = createRedisBlobs(redis, bulk, keys, { shard, ttlS: retentionS });
  const subscriber = new Subscriber(listening);
  const perform = createPerform({
    engine,
    ledger,
    blobs,
    subscriber,
    keys,
    log,
    pieceIntervalMs: 30,
  });
  const drain = new AbortController();
  const stopping = new AbortController();

  const pump = new Pump(served.version, processJob, {
    connection: redis,
    prefix: keys.queue(shard),
    name: id,
    concurrency: slots,
    // A killed worker's job is taken up when its lock has run out and somebody has looked: within 6 s together.
    lockDuration: 5_000,
    stalledInterval: 1_000,
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
    try {
      if ((await perform(payload.data.id, drain.signal)) === "done") return;
    } catch (error) {
      const isLastTry = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
      if (isLastTry) await fail(job, jobErrorOf("internal_error", "The job could not be run."));
      throw error;
    }
    await job.moveToWait(token);
    throw new WaitingError();
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
  const sweeping = every(sweepEveryMs, async () => {
    const enqueued = await sweepPending(ledger, queues);
    if (enqueued > 0) log.warn({ enqueued }, "swept pending jobs into the queue");
  });

  async function every(ms: number, task: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await task().catch((error: unknown) => log.warn({ error }, "a periodic task failed"));
      await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }

  return {
    id,
    /** Resolves when everything is closed. `now` skips the grace. */
    async stop(): Promise<void> {
      stopping.abort();
      const grace = setTimeout(() => drain.abort(), config.graceMs);
      const closed = pump.close();
      await Promise.all([beating, sweeping]);
      await ledger.retire(id);
      await closed;
      clearTimeout(grace);
      await queues.close();
      for (const connection of [redis, bulk, listening]) connection.disconnect();
    },
    /** Ends the grace: running jobs are handed back now. */
    handBack: () => drain.abort(),
  };
}
