/** Every Redis key and channel. All that belongs to one job carries its shard's hash tag, so that a Lua step stays in one slot. */
import { randomBytes } from "node:crypto";

export type Keys = ReturnType<typeof createKeys>;

/** A new job id: 128 random bits, and the shard it lives on. */
export function newJobId(shard: string): string {
  return `job_${shard}_${randomBytes(16).toString("hex")}`;
}

/** The shard of a job id that `jobId` of the contracts has accepted. */
export function shardOf(id: string): string {
  return id.split("_")[1] ?? "";
}

/** Names of keys and channels under `prefix`. */
export function createKeys(prefix: string) {
  const of = (shard: string, name: string) => `${prefix}:{${shard}}:${name}`;
  const ofJob = (name: string) => (id: string) => of(shardOf(id), `${name}:${id}`);
  const ofShard = (name: string) => (shard: string) => of(shard, name);
  return {
    /** Hash: the job's record and its input. */
    job: ofJob("job"),
    /** Stream: the job's log; event n has the entry id `n-1`. */
    log: ofJob("log"),
    /** Channel: each event as it is appended. */
    channel: ofJob("events"),
    /** Channel: words to the worker that runs the job. */
    control: ofJob("control"),
    /** Sorted set by time: jobs recorded but perhaps not yet in the queue. */
    pending: ofShard("pending"),
    /** Sorted set by time: all jobs. */
    index: ofShard("index"),
    /** Hash: live workers. */
    workers: ofShard("workers"),
    /** String: a picture's bytes, by their SHA-256. */
    blob: (shard: string, digest: string) => of(shard, `blob:${digest}`),
    /** BullMQ's prefix; its keys go on with the queue's name, one queue a version. */
    queue: ofShard("queue"),
  };
}
