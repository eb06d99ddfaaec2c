/** What was done with the scope `admin`, in a stream that keeps the latest. */
import type { AuditEntry } from "@glimpse/contracts";
import { auditEntry } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import type { Keys } from "./keys.ts";

const kept = 10_000;

export type AuditLog = ReturnType<typeof createAuditLog>;

export function createAuditLog(redis: Redis, keys: Keys) {
  return {
    async record(entry: Omit<AuditEntry, "id">): Promise<void> {
      await redis.xadd(keys.audit, "MAXLEN", "~", kept, "*", "entry", JSON.stringify(entry));
    },

    /** Up to `limit` entries older than `before` (an entry's id; null for the newest), newest first, and where the next page begins. */
    async list(
      limit: number,
      before: string | null,
    ): Promise<{ entries: AuditEntry[]; next: string | null }> {
      const end = before === null ? "+" : `(${before}`;
      const found = await redis.xrevrange(keys.audit, end, "-", "COUNT", limit);
      const entries = found.map(([id, [, json]]) =>
        auditEntry.parse({ ...(JSON.parse(json ?? "{}") as object), id }),
      );
      return { entries, next: found.length < limit ? null : (entries.at(-1)?.id ?? null) };
    },
  };
}
