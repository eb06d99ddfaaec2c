/** Every Redis key and channel. All that belongs to one job carries its shard's hash tag, so that a Lua step stays in one slot. */
import { randomUUID } from "node:crypto";
import { fingerprint } from "./fingerprint.ts";

export type Keys = ReturnType<typeof createKeys>;

/** A new job id: 122 random bits, which Node has in stock, and the shard it lives on. 32 of them may be given, to make ids that begin alike. */
export function newJobId(shard: string, first = ""): string {
  return `job_${shard}_${first}${randomUUID().replaceAll("-", "").slice(first.length)}`;
}

/** The job id that belongs to an idempotency key; `scope` is whom and what the key is for, such as the tenant and the route. */
export function keyedJobId(shard: string, scope: string[], key: string): string {
  return `job_${shard}_${fingerprint([...scope, key]).slice(0, 32)}`;
}

/** The shard of a job id that `jobId` of the contracts has accepted. */
export function shardOf(id: string): string {
  const from = id.indexOf("_") + 1;
  return id.slice(from, id.indexOf("_", from));
}

/** The keys that every script begins with which can start or end a job, in the order of _end.lua. */
export function keysOfEnd(keys: Keys, id: string): string[] {
  const shard = shardOf(id);
  const ofJob = [keys.job(id), keys.log(id), keys.pending(shard), keys.followers(id)];
  return [
    ...ofJob,
    keys.deadlines(shard),
    keys.active(shard),
    keys.fair(shard),
    keys.outbox(shard),
  ];
}

/** Names of keys and channels under `prefix`. */
export function createKeys(prefix: string) {
  const of = (shard: string, name: string) => `${prefix}:{${shard}}:${name}`;
  const ofJob = (name: string) => (id: string) => of(shardOf(id), `${name}:${id}`);
  const ofShard = (name: string) => (shard: string) => of(shard, name);
  return {
    /** Hash: API keys by their ids. */
    apiKeys: `${prefix}:api-keys`,
    /** Stream: what was done with the scope `admin`. */
    audit: `${prefix}:audit`,
    /** String: what signs links. */
    linkSecret: `${prefix}:link-secret`,
    /** Hash: the job's record and its input. */
    job: ofJob("job"),
    /** Stream: the job's log; event n has the entry id `n-1`. */
    log: ofJob("log"),
    /** Channel: each event as it is appended. */
    channel: ofJob("events"),
    /** Channel: a word and a job, to the worker that runs it: `cancel <id>`, `expire <id>`. */
    control: ofShard("control"),
    /** List: ids of identical jobs that get this job's answer instead of being run. */
    followers: ofJob("followers"),
    /** Sorted set by time: jobs recorded but perhaps not yet in the queue; 0 for those that nobody else will enqueue. */
    pending: ofShard("pending"),
    /** Sorted set by time: a tenant's jobs. */
    tenantIndex: (shard: string, tenant: string) => of(shard, `index:${tenant}`),
    /** String: the id of the job that runs, or has lately answered, what has this digest. */
    same: (shard: string, digest: string) => of(shard, `same:${digest}`),
    /** Sorted set by deadline: jobs that have not ended. */
    deadlines: ofShard("deadlines"),
    /** Sorted set by name: `<tenant>/<id>` of each job that has not ended. Under this name and `:bytes`, hash: how many bytes they have. */
    active: ofShard("active"),
    /** First part of the keys that tell whose turn it is, which go on with a version and a tenant. */
    fair: ofShard("fair"),
    /** Stream: what somebody else is to be told of. */
    outbox: ofShard("outbox"),
    /** Stream: the same for pieces of answers, of which the oldest are dropped. */
    outboxPieces: ofShard("outbox-pieces"),
    /** Hash: for each tenant that has webhook endpoints, the events they want to hear of. */
    outboxWants: ofShard("outbox-wants"),
    /** Hash: a tenant's webhook endpoints as JSON, by id. Of no shard. */
    endpoints: (tenant: string) => `${prefix}:webhook-endpoints:${tenant}`,
    /** Hash: the secrets that sign where a job's webhook has none of its own. Of no shard. */
    webhookSecrets: (tenant: string) => `${prefix}:webhook-secrets:${tenant}`,
    /** Hash: a delivery. */
    delivery: (id: string) => of(shardOf(id), `delivery:${id}`),
    /** List: a delivery's tries as JSON. */
    tries: (id: string) => of(shardOf(id), `tries:${id}`),
    /** Sorted set by time: deliveries of a job, an endpoint or a tenant, or a tenant's dead ones. */
    deliveriesOf: (shard: string, kind: "job" | "endpoint" | "tenant" | "dead", name: string) =>
      of(shard, `deliveries:${kind}:${name}`),
    /** Sorted set by the next try's time: deliveries that are neither delivered nor dead. */
    openDeliveries: ofShard("deliveries-open"),
    /** Hash: a tenant's thing that is not a job, by kind. */
    shelved: (shard: string, kind: string, name: string) => of(shard, `${kind}:${name}`),
    /** Sorted set by time: a tenant's things of a kind. */
    shelf: (shard: string, kind: string, tenant: string) => of(shard, `${kind}-index:${tenant}`),
    /** Sorted set by time: `<tenant>/<id>` of each batch that has not ended. */
    openBatches: ofShard("batches-open"),
    /** String: written to see what has been written before it arrive at a replica. */
    confirmed: ofShard("confirmed"),
    /** Hash: live workers. */
    workers: ofShard("workers"),
    /** Hash: a picture that is kept, by the SHA-256 of its bytes. */
    blob: (shard: string, digest: string) => of(shard, `picture:${digest}`),
    /** List: keys of the records of jobs that need the picture. */
    blobHolders: (shard: string, digest: string) => of(shard, `picture-holders:${digest}`),
    /** String: a picture's bytes, by the name that its record has for them. */
    blobBytes: (shard: string, name: string) => of(shard, `picture-bytes:${name}`),
    /** Sorted set: pictures, by when to look whether somebody holds them. */
    blobs: ofShard("pictures"),
    /** Number: bytes of all pictures. */
    blobTotal: ofShard("pictures-total"),
    /** Set: names of bytes to be removed. */
    blobTrash: ofShard("pictures-trash"),
    /** First part of the names of numbers: requests that somebody has made lately. Of no shard. */
    rates: `${prefix}:rates`,
    /** BullMQ's prefix; its keys go on with the queue's name, one queue a version. */
    queue: ofShard("queue"),
    /** First part of the names of BullMQ's keys for a version's queue. */
    queueOf: (shard: string, version: string) => of(shard, `queue:${version}:`),
  };
}
