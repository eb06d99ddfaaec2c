/** The courier's environment, read once. */
import { count, parseEnvironment, sharedEnvironment } from "@glimpse/contracts";

const environment = sharedEnvironment.extend({
  /** How often jobs that nobody holds are looked for; one that is found twice is enqueued again. */
  ORPHAN_SWEEP_MS: count(5_000),
});

/** Throws with one line a variable that is wrong. */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const parsed = parseEnvironment(environment, env);
  return {
    redisUrl: parsed.REDIS_URL,
    keyPrefix: parsed.KEY_PREFIX,
    shard: parsed.SHARD,
    retentionS: parsed.RETENTION_S,
    blobs: parsed.BLOBS,
    logLevel: parsed.LOG_LEVEL,
    orphanSweepMs: parsed.ORPHAN_SWEEP_MS,
  };
}
