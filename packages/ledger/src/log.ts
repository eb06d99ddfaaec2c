/** A job's log as readers see it: in order, in portions, whatever release wrote it. Writing is the Lua steps' business. */
import type { LogEvent } from "@glimpse/contracts";
import { logEvent } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";

const streamEntries = z.array(z.tuple([z.string(), z.tuple([z.string(), z.string()])]));

/** Up to `limit` events of the log at `key` with numbers above `after` (-1: from the first), oldest first. */
export async function readLog(
  redis: Redis,
  key: string,
  after: number,
  limit: number,
): Promise<LogEvent[]> {
  const from = after < 0 ? "-" : `(${after}-1`;
  const entries = streamEntries.parse(await redis.xrange(key, from, "+", "COUNT", limit));
  return entries.map(([, [, json]]) => parseEvent(json));
}

/** An event from its JSON, as the log holds it and the job's channel carries it. */
export function parseEvent(json: string): LogEvent {
  return logEvent.parse(JSON.parse(json));
}

/** Its type alone, of an event that need not be read: every event's JSON begins with its number and its type. "" if it does not. */
export function typeOfEvent(json: string): string {
  return /^\{"id":\d+,"type":"([a-z0-9_.]+)"/.exec(json)?.[1] ?? "";
}
