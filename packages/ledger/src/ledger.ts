/**
 * Job records and logs. Every change is one Lua step, so a record and its log never disagree.
 * Knows Redis and the contracts; knows neither BullMQ nor HTTP nor the engine.
 */
import type {
  Job,
  JobError,
  JobEvent,
  JobInput,
  Metadata,
  Output,
  TerminalState,
  Usage,
  WorkerBeat,
} from "@glimpse/contracts";
import { jobEvent, jobInput, jobState, workerBeat } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";
import { newJobId, shardOf } from "./keys.ts";
import { parseRecord, recordFields } from "./record.ts";
import { loadScripts } from "./scripts.ts";

export type NewJob = { model: string; version: string; input: JobInput; metadata: Metadata };

/** A piece of the answer as it goes into the log. */
export type LogPiece = { type: "delta" | "reasoning"; text: string };

/** An attempt's licence to write. `nextEvent` is the number its first event will have. */
export type Attempt = { id: string; attempt: number; nextEvent: number; input: JobInput };

export type Outcome = {
  state: TerminalState;
  output?: Output;
  usage?: Usage;
  error?: JobError;
};

export type Ledger = ReturnType<typeof createLedger>;

const started = z.union([
  z.tuple([z.int().positive(), z.int(), z.string()]),
  z.tuple([z.literal(0), jobState]),
  z.tuple([z.literal(0)]),
]);
const streamEntries = z.array(z.tuple([z.string(), z.tuple([z.string(), z.string()])]));

/** The ledger on one connection. `retentionS`: how long a job is kept after its last change of state. */
export function createLedger(
  redis: Redis,
  keys: Keys,
  options: { shard: string; retentionS: number },
) {
  const { shard, retentionS } = options;
  const run = loadScripts(redis);
  const recordAndLog = (id: string) => [keys.job(id), keys.log(id)];
  const withPending = (id: string) => [...recordAndLog(id), keys.pending(shardOf(id))];

  return {
    /** Records a job as queued, with a pending mark until `clearPending`. Returns its id. */
    async submit(job: NewJob): Promise<string> {
      const id = newJobId(shard);
      const args = [
        id,
        keys.channel(id),
        retentionS,
        job.model,
        job.version,
        JSON.stringify(job.input),
        JSON.stringify(job.metadata),
      ];
      await run("submit", [...withPending(id), keys.index(shard)], args);
      return id;
    },

    /** The job as clients see it, or null when there is none. */
    async read(id: string): Promise<Job | null> {
      return parseRecord(id, await redis.hmget(keys.job(id), ...recordFields));
    },

    /** The log's events with numbers above `after` (-1 for all), oldest first. */
    async readLog(id: string, after: number): Promise<JobEvent[]> {
      const from = after < 0 ? "-" : `(${after}-1`;
      const entries = streamEntries.parse(
        await redis.xrange(keys.log(id), from, "+", "COUNT", 1_000),
      );
      return entries.map(([, [, json]]) => jobEvent.parse(JSON.parse(json)));
    },

    /** Begins a new attempt. Null: no such job, or `ended` with its state; either way there is nothing to run. */
    async start(id: string): Promise<Attempt | { ended: string } | null> {
      const reply = started.parse(
        await run("start", withPending(id), [id, keys.channel(id), retentionS]),
      );
      if (reply.length === 1) return null;
      if (reply.length === 2) return { ended: reply[1] };
      const [attempt, nextEvent, input] = reply;
      return { id, attempt, nextEvent, input: jobInput.parse(JSON.parse(input)) };
    },

    /** Appends pieces; sending them twice appends them once. False: the attempt is stale or the job has ended, write no more. */
    async append(attempt: Attempt, pieces: LogPiece[]): Promise<boolean> {
      const { id, nextEvent } = attempt;
      const texts = pieces.flatMap(({ type, text }) => [type, JSON.stringify(text)]);
      const next = z
        .int()
        .parse(
          await run("append", recordAndLog(id), [
            keys.channel(id),
            attempt.attempt,
            nextEvent,
            ...texts,
          ]),
        );
      if (next < 0) return false;
      attempt.nextEvent = next;
      return true;
    },

    /** Hands the attempt back: the job is queued again. False: it was not ours any more. */
    async release({ id, attempt }: Attempt): Promise<boolean> {
      return (await run("release", recordAndLog(id), [keys.channel(id), attempt])) === 1;
    },

    /** Ends the attempt with its outcome. False: the attempt is stale or the job had ended; nothing was changed. */
    async finish(
      { id, attempt }: Pick<Attempt, "id" | "attempt">,
      outcome: Outcome,
    ): Promise<boolean> {
      return end(id, String(attempt), outcome);
    },

    /** Fails a job that no attempt can fail any more, such as one that kills its workers. */
    async fail(id: string, error: JobError): Promise<boolean> {
      return end(id, "", { state: "failed", error });
    },

    /** Cancels a job and tells its worker. False: there is no such job. A job that has ended stays as it is. */
    async cancel(id: string): Promise<boolean> {
      const reply = await run("cancel", withPending(id), [
        id,
        keys.channel(id),
        retentionS,
        keys.control(id),
      ]);
      return reply !== -1;
    },

    /** The job is in the queue. */
    async clearPending(id: string): Promise<void> {
      await redis.zrem(keys.pending(shardOf(id)), id);
    },

    /** Ids and versions of jobs that have been pending for longer than `olderThanMs`, oldest first; `version` is null when the job is gone. */
    async pending(
      olderThanMs: number,
      limit: number,
    ): Promise<{ id: string; version: string | null }[]> {
      const [seconds] = z.tuple([z.coerce.number(), z.coerce.number()]).parse(await redis.time());
      const ids = await redis.zrangebyscore(
        keys.pending(shard),
        0,
        seconds * 1_000 - olderThanMs,
        "LIMIT",
        0,
        limit,
      );
      return Promise.all(
        ids.map(async (id) => ({ id, version: await redis.hget(keys.job(id), "version") })),
      );
    },

    /** Says that a worker is alive, for `ttlMs`. */
    async beat(worker: WorkerBeat, ttlMs: number): Promise<void> {
      await run("beat", [keys.workers(shard)], [worker.id, JSON.stringify(worker), ttlMs]);
    },

    /** Takes a worker off the list at once. */
    async retire(workerId: string): Promise<void> {
      await redis.hdel(keys.workers(shard), workerId);
    },

    /** The workers that are alive. */
    async workers(): Promise<WorkerBeat[]> {
      const alive = z.array(z.string()).parse(await run("workers", [keys.workers(shard)], []));
      return alive.map((json) => workerBeat.parse(JSON.parse(json)));
    },
  };

  async function end(
    id: string,
    attempt: string,
    { state, output, usage, error }: Outcome,
  ): Promise<boolean> {
    const result = [output, usage, error].map((part) => JSON.stringify(part ?? null));
    return (
      (await run("finish", withPending(id), [
        id,
        keys.channel(id),
        retentionS,
        attempt,
        state,
        ...result,
      ])) === 1
    );
  }
}
