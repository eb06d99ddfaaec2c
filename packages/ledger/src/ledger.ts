/**
 * Job records and logs. Every change is one Lua step, so a record and its log never disagree.
 * Knows Redis and the contracts; knows neither BullMQ nor HTTP nor the engine.
 */
import type {
  Asked,
  Job,
  JobError,
  JobInput,
  LogEvent,
  Output,
  TerminalState,
  Usage,
  WorkerBeat,
} from "@glimpse/contracts";
import { asked, jobInput, jobState, workerBeat } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { keyCountsOfBullmq } from "./bullmq-steps.ts";
import type { Keys } from "./keys.ts";
import { keyedJobId, keysOfEnd, newJobId, shardOf } from "./keys.ts";
import { readLog } from "./log.ts";
import { createList } from "./list.ts";
import { parseRecord, recordFields } from "./record.ts";
import type { Argument } from "./scripts.ts";
import { loadScripts } from "./scripts.ts";
import { createSubmit, type NewJob } from "./submit.ts";

/** A piece of the answer as it goes into the log. */
export type LogPiece = { type: "delta" | "reasoning"; text: string };

/** An attempt's licence to write. `nextEvent` is the number its next event will have, `written` what it has appended so far. */
export type Attempt = {
  id: string;
  attempt: number;
  nextEvent: number;
  written: LogPiece[];
  input: JobInput;
  /** Milliseconds to the job's deadline, by Redis's clock, when the attempt began. Null: it has none. */
  leftMs: number | null;
};

/** What became of an attempt to start a job; see `Ledger.start`. */
export type Start =
  | Attempt
  | { ended: string }
  | { refused: "suspect" | "crashed" | "unreadable" }
  | { postponed: number }
  | null;

export type Outcome = {
  state: TerminalState;
  output?: Output;
  usage?: Usage;
  error?: JobError;
};

type End = Outcome & { pieces: LogPiece[]; nextEvent: number; leave: Argument[] };

export type Pace = { runMs: number | null; succeeded: number; broken: number };

export type Ledger = ReturnType<typeof createLedger>;

const started = z.union([
  z.tuple([z.int().positive(), z.int(), z.string().nullable(), z.int()]),
  z.tuple([z.literal(-1), z.int().positive()]),
  z.tuple([z.literal(0), jobState]),
  z.tuple([z.literal([0, -2, -3, -4])]),
]);
const ended = z.tuple([z.literal([1, 0, -1]), z.unknown()]).or(z.tuple([z.literal([1, 0, -1])]));
function readInput(json: string | null): JobInput | null {
  try {
    return jobInput.parse(JSON.parse(json ?? ""));
  } catch {
    return null;
  }
}

/** Pieces as the scripts take them. */
const texts = (pieces: LogPiece[]) =>
  pieces.flatMap(({ type, text }) => [type, JSON.stringify(text)]);

const refusals = { 0: null, [-2]: { refused: "suspect" }, [-3]: { refused: "crashed" } } as const;

export type LedgerOptions = {
  shard: string;
  /** How long a job is kept after its last change of state. */
  retentionS: number;
  /** How long an answer is given to identical deterministic jobs. 0: never, and those in flight are not joined either. */
  resultCacheS?: number;
};

/** The ledger on one connection. */
export function createLedger(redis: Redis, keys: Keys, options: LedgerOptions) {
  const { shard, retentionS } = options;
  const run = loadScripts(redis);
  const recordAndLog = (id: string) => [keys.job(id), keys.log(id)];
  const appended = (id: string) => [...recordAndLog(id), keys.outboxPieces(shardOf(id))];
  const ofJob = (id: string) => keysOfEnd(keys, id);
  const indexed = (id: string, tenant: string) => [
    ...ofJob(id),
    keys.tenantIndex(shardOf(id), tenant),
  ];
  const names = (id: string) => [id, keys.channel(id), retentionS];

  return {
    /** Where new jobs live. */
    shard,

    submit: createSubmit(run, keys, options),

    /** An id that no job has; see `newJobId`. */
    newId: (first?: string) => newJobId(shard, first),

    /** The id that an idempotency key chooses: the same for the same tenant, route and key. */
    keyedId: (tenant: string, route: string, key: string) =>
      keyedJobId(shard, [tenant, route], key),

    /** Whether the tenant has submitted this before and the job is still there: only then nothing is left to do. */
    async isSubmitted(job: NonNullable<NewJob["chosen"]> & { tenant: string }): Promise<boolean> {
      const [owner, known, state] = await redis.hmget(
        keys.job(job.id),
        "tenant",
        "fingerprint",
        "state",
      );
      return owner === job.tenant && known === job.fingerprint && state !== null;
    },

    list: createList(redis, keys, shard),

    /** The tenant's job as clients see it, or null when it has none of this id. */
    async read(id: string, tenant: string): Promise<Job | null> {
      const [owner, ...values] = await redis.hmget(keys.job(id), "tenant", ...recordFields);
      return owner === tenant ? parseRecord(id, values) : null;
    },

    /** The tenant's job with what was asked of the door it came through, null if through none; or null when it has none of this id. */
    async readAsked(id: string, tenant: string): Promise<{ job: Job; asked: Asked | null } | null> {
      const fields = ["tenant", "asked", ...recordFields];
      const [owner, json, ...values] = await redis.hmget(keys.job(id), ...fields);
      const job = owner === tenant ? parseRecord(id, values) : null;
      return job && { job, asked: json == null ? null : asked.parse(JSON.parse(json)) };
    },

    /** The question of the tenant's job, or null when it has none of this id. */
    async readInput(id: string, tenant: string): Promise<JobInput | null> {
      const [owner, json = null] = await redis.hmget(keys.job(id), "tenant", "input");
      return owner === tenant ? readInput(json) : null;
    },

    /** The state of the tenant's job alone, or null when it has none of this id. */
    async readState(id: string, tenant: string): Promise<string | null> {
      const [owner, state = null] = await redis.hmget(keys.job(id), "tenant", "state");
      return owner === tenant ? state : null;
    },

    /** How many connections listen to the job's events just now. */
    async listeners(id: string): Promise<number> {
      return Number((await redis.pubsub("NUMSUB", keys.channel(id)))[1] ?? 0);
    },

    /** The states of jobs, in their order; null for those that are not there. */
    async states(ids: string[]): Promise<(string | null)[]> {
      const pipeline = redis.pipeline();
      for (const id of ids) pipeline.hget(keys.job(id), "state");
      const replies = (await pipeline.exec()) ?? [];
      return replies.map(([error, state]) => {
        if (error !== null) throw error;
        return z.string().nullable().parse(state);
      });
    },

    /** Up to `limit` of the log's events with numbers above `after` (-1: from the first), oldest first. */
    async readLog(id: string, after: number, limit = 1_000): Promise<LogEvent[]> {
      return readLog(redis, keys.log(id), after, limit);
    },

    /** How many events the job's log has had, kept or not. 0: there is no such job. */
    async logLength(id: string): Promise<number> {
      return Number((await redis.hget(keys.job(id), "events")) ?? 0);
    },

    /**
     * Begins a new attempt, `alone` if the worker runs nothing else meanwhile. Null: no such job, or `ended` with its state;
     * either way there is nothing to run. `refused`: a suspect has to be started alone; one that has `crashed` its workers or is
     * `unreadable` is to be failed. `postponed`: others have come before it, and it is to go back into the queue with this priority.
     */
    async start(id: string, alone = false): Promise<Start> {
      const args = [...names(id), alone ? "1" : "0", randomUUID()];
      const reply = started.parse(await run("start", ofJob(id), args));
      if (reply.length === 1) {
        const [word] = reply;
        if (word !== -4) return refusals[word];
        await this.expire(id);
        return { ended: "expired" };
      }
      if (reply.length === 2) {
        const [, word] = reply;
        return typeof word === "number" ? { postponed: word } : { ended: word };
      }
      const [attempt, nextEvent, json, left] = reply;
      const input = readInput(json);
      if (input === null) return { refused: "unreadable" };
      return { id, attempt, nextEvent, written: [], input, leftMs: left < 0 ? null : left };
    },

    /**
     * Appends pieces; sending them twice appends them once. What Redis has forgotten of the attempt's earlier ones, because it
     * died or another one took over, is appended again under its numbers. False: the attempt is stale or the job has ended.
     */
    async append(attempt: Attempt, pieces: LogPiece[]): Promise<boolean> {
      const { id, nextEvent, written } = attempt;
      const first = nextEvent - written.length;
      const end = nextEvent + pieces.length;
      let from = nextEvent;
      do {
        const earlier = from < nextEvent ? written.slice(from - first) : [];
        const missing = [...earlier, ...pieces.slice(Math.max(0, from - nextEvent))];
        const args = [keys.channel(id), attempt.attempt, from, ...texts(missing)];
        from = z.int().parse(await run("append", appended(id), args));
        if (from < first) return false;
      } while (from < end);
      written.push(...pieces);
      attempt.nextEvent = end;
      return true;
    },

    /** Hands the attempt back: the job is queued again. False: it was not ours any more. */
    async release({ id, attempt }: Attempt): Promise<boolean> {
      return (await run("release", recordAndLog(id), [keys.channel(id), attempt])) === 1;
    },

    /** The worker that ran this job has crashed: the job is run alone from now on. A job that was not being run stays as it is. */
    async suspect(id: string): Promise<void> {
      await run("suspect", [keys.job(id)], []);
    },

    /** Ends the attempt with its outcome and the pieces before it. False: the attempt is stale or the job had ended; nothing was changed. */
    async finish(attempt: Attempt, outcome: Outcome, pieces: LogPiece[] = []): Promise<boolean> {
      return (await this.finishAndLeave(attempt, outcome, pieces, [])).final;
    },

    /**
     * The same, and then its worker is done with the job in the queue, in the same step and even if the end was not `final`:
     * `leave` is a call of BullMQ's `moveToFinished`, and `left` what it said.
     */
    async finishAndLeave(
      attempt: Attempt,
      outcome: Outcome,
      pieces: LogPiece[],
      leave: Argument[],
    ): Promise<{ final: boolean; left: unknown }> {
      for (;;) {
        const given = { ...outcome, pieces, nextEvent: attempt.nextEvent, leave };
        const [reply, left] = await end(attempt.id, String(attempt.attempt), given);
        if (reply >= 0) return { final: reply === 1, left };
        // One that has become stale meanwhile is told so when it ends again.
        await this.append(attempt, []);
      }
    },

    /** Fails a job that no attempt can fail any more, such as one that kills its workers. */
    async fail(id: string, error: JobError): Promise<boolean> {
      const given = { state: "failed" as const, error, pieces: [], nextEvent: 0, leave: [] };
      return (await end(id, "", given))[0] === 1;
    },

    /** Cancels a tenant's job and tells its worker. False: there is no such job. A job that has ended stays as it is. */
    async cancel(id: string, tenant: string): Promise<boolean> {
      const reply = await run("cancel", ofJob(id), [
        ...names(id),
        tenant,
        keys.control(shardOf(id)),
      ]);
      return reply !== -1;
    },

    /** Ends a job whose deadline has passed and tells its worker. False: it is not due, has ended or is gone. */
    async expire(id: string): Promise<boolean> {
      return (await run("expire", ofJob(id), [...names(id), keys.control(shardOf(id))])) === 1;
    },

    /** Removes a tenant's job that has ended: record, log and index entries. Its id stays taken. */
    async delete(id: string, tenant: string): Promise<"deleted" | "not ended" | "none"> {
      const reply = await run("delete", indexed(id, tenant), [...names(id), tenant]);
      return reply === 1 ? "deleted" : reply === 0 ? "not ended" : "none";
    },

    /** The job is in the queue. Whoever starts or ends it does this as well. */
    async clearPending(id: string): Promise<void> {
      await redis.zrem(keys.pending(shardOf(id)), id);
    },

    /** Says that a worker is alive, for `ttlMs`. */
    async beat(worker: WorkerBeat, ttlMs: number): Promise<void> {
      await run("beat", [keys.workers(shard)], [worker.id, JSON.stringify(worker), ttlMs]);
    },

    /** How a version's jobs ran: how long lately (null: none has succeeded), and how many ever succeeded or broke the engine or their worker. */
    async pace(version: string): Promise<Pace> {
      const fields = ["run_ms", "succeeded", "broken"];
      const [run, succeeded, broken] = await redis.hmget(
        `${keys.fair(shard)}:${version}`,
        ...fields,
      );
      const runMs = run == null ? null : Number(run);
      return { runMs, succeeded: Number(succeeded ?? 0), broken: Number(broken ?? 0) };
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
    { state, output, usage, error, pieces, nextEvent, leave }: End,
  ): Promise<z.infer<typeof ended>> {
    const result = [output, usage, error].map((part) => JSON.stringify(part ?? null));
    const keyCount = leave.length === 0 ? 0 : keyCountsOfBullmq.moveToFinished;
    const leaving = [keyCount, leave.length - keyCount, ...leave];
    const args = [...names(id), attempt, state, ...result, nextEvent, ...leaving, ...texts(pieces)];
    return ended.parse(await run("finish", ofJob(id), args));
  }
}
