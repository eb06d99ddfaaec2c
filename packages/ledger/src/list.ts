/** A tenant's jobs, newest first. Filters are applied while the index is read, so a page reads a bounded part of it. */
import type { Job, JobState, Metadata } from "@glimpse/contracts";
import { metadata as metadataSchema } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";
import { parseRecord, recordFields } from "./record.ts";

export type JobFilter = {
  tenant: string;
  states?: JobState[] | undefined;
  /** Both exclusive. */
  createdAfterMs?: number | undefined;
  createdBeforeMs?: number | undefined;
  /** Entries that the job must have. */
  metadata?: Metadata | undefined;
};

/** A place in the list; the next page begins behind it. */
export type ListPosition = { createdMs: number; id: string };

/** `next` is null at the end; a page with `next` can be short or empty when few jobs pass the filter. */
export type JobPage = { jobs: Job[]; next: ListPosition | null };

const portionSize = 100;
const parsedTogether = 5;
const maxReadPerPage = 1_000;
const scored = z.array(z.string());
const values = z.array(z.string().nullable());

export function createList(redis: Redis, keys: Keys, shard: string) {
  /** Up to `limit` jobs that pass the filter, behind `from` (null for the newest). */
  return async function list(
    filter: JobFilter,
    limit: number,
    from: ListPosition | null,
  ): Promise<JobPage> {
    const before = filter.createdBeforeMs ?? Number.POSITIVE_INFINITY;
    let position = from !== null && from.createdMs < before ? from : { createdMs: before, id: "" };
    const jobs: Job[] = [];
    for (let read = 0; read < maxReadPerPage; read += portionSize) {
      const { entries, isLast } = await portionBehind(position, filter);
      let passing = await sift(entries, filter);
      while (passing.length > 0 && jobs.length < limit) {
        const wanted = passing.slice(0, limit - jobs.length);
        passing = passing.slice(wanted.length);
        jobs.push(...(await readJobs(wanted)));
        position = wanted.at(-1) ?? position;
      }
      if (passing.length > 0 || (jobs.length === limit && !isLast)) return { jobs, next: position };
      if (isLast) return { jobs, next: null };
      position = entries.at(-1) ?? position;
    }
    return { jobs, next: position };
  };

  /** The index's next entries. Jobs of the same millisecond are ordered by id, like the index's own members. */
  async function portionBehind(position: ListPosition, { tenant, createdAfterMs }: JobFilter) {
    const key = keys.tenantIndex(shard, tenant);
    const min = createdAfterMs === undefined ? "-inf" : `(${createdAfterMs}`;
    const max = position.createdMs === Number.POSITIVE_INFINITY ? "+inf" : position.createdMs;
    for (let skip = 0; ; skip += portionSize) {
      const pairs = scored.parse(
        await redis.zrevrangebyscore(key, max, min, "WITHSCORES", "LIMIT", skip, portionSize),
      );
      const found = pairs.flatMap((id, i) =>
        i % 2 === 0 ? [{ id, createdMs: Number(pairs[i + 1]) }] : [],
      );
      const isLast = found.length < portionSize;
      const entries = found.filter(
        ({ id, createdMs }) => createdMs < position.createdMs || id < position.id,
      );
      if (isLast || entries.length > 0) return { entries, isLast };
    }
  }

  /** Those of the entries whose jobs pass, or are gone where all pass; an answer can be long, so it is not read for that. */
  async function sift(entries: ListPosition[], { states, metadata }: JobFilter) {
    const records = await readFields(entries, ["state", "metadata"]);
    return entries.filter((_, i) => {
      const [state = null, json = null] = records[i] ?? [];
      if (states !== undefined && !states.some((wanted) => wanted === state)) return false;
      if (metadata === undefined) return true;
      const has = metadataSchema.parse(JSON.parse(json ?? "{}"));
      return Object.entries(metadata).every(([name, value]) => has[name] === value);
    });
  }

  /** A few at a time: records that have come together are parsed in one go, and answers can be long. */
  async function readJobs(entries: ListPosition[]): Promise<Job[]> {
    const jobs: Job[] = [];
    for (let i = 0; i < entries.length; i += parsedTogether) {
      const some = entries.slice(i, i + parsedTogether);
      const records = await readFields(some, recordFields);
      for (const [n, { id }] of some.entries()) {
        const job = parseRecord(id, records[n] ?? []);
        if (job !== null) jobs.push(withoutLogprobs(job));
      }
    }
    return jobs;
  }

  async function readFields(
    entries: ListPosition[],
    fields: readonly string[],
  ): Promise<(string | null)[][]> {
    const pipeline = redis.pipeline();
    for (const { id } of entries) pipeline.hmget(keys.job(id), ...fields);
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, reply]) => {
      if (error !== null) throw error;
      return values.parse(reply);
    });
  }
}

/** A page of them would be large; they are told with the job itself. */
function withoutLogprobs(job: Job): Job {
  delete job.output?.logprobs;
  return job;
}
