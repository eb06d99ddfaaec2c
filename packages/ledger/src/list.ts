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
      const records = await readRecords(entries.map(({ id }) => id));
      for (const [i, entry] of entries.entries()) {
        position = entry;
        const record = records[i];
        if (record === undefined || !passes(record, filter)) continue;
        const job = parseRecord(entry.id, record);
        if (job !== null) jobs.push(job);
        if (jobs.length < limit) continue;
        return { jobs, next: isLast && i === entries.length - 1 ? null : position };
      }
      if (isLast) return { jobs, next: null };
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

  async function readRecords(ids: string[]): Promise<(string | null)[][]> {
    const pipeline = redis.pipeline();
    for (const id of ids) pipeline.hmget(keys.job(id), ...recordFields);
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, reply]) => {
      if (error !== null) throw error;
      return values.parse(reply);
    });
  }
}

function passes(record: (string | null)[], { states, metadata }: JobFilter): boolean {
  const state = record[recordFields.indexOf("state")];
  if (states !== undefined && !states.some((wanted) => wanted === state)) return false;
  if (metadata === undefined) return true;
  const has = metadataSchema.parse(JSON.parse(record[recordFields.indexOf("metadata")] ?? "{}"));
  return Object.entries(metadata).every(([name, value]) => has[name] === value);
}
