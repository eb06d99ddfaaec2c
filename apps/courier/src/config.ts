/** The courier's environment, read once. */
import {
  count,
  outboundEnvironment,
  parseEnvironment,
  sharedEnvironment,
} from "@glimpse/contracts";
import { policyFrom } from "@glimpse/outbound";
import { z } from "zod";

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Such as `5s`, `30m`, `2h`; without a unit, milliseconds. */
const duration = z
  .string()
  .regex(/^\d{1,9}(ms|s|m|h)?$/, "must be a time such as 5s, 30m or 2h")
  .transform((text) => {
    const [, number = "0", unit = "ms"] = /^(\d+)(\D*)$/.exec(text) ?? [];
    return Number(number) * (unitMs[unit as keyof typeof unitMs] ?? 1);
  });

const environment = sharedEnvironment.extend({
  ...outboundEnvironment.shape,
  /** How often jobs that nobody holds are looked for; one that is found twice is enqueued again. */
  ORPHAN_SWEEP_MS: count(5_000),
  /** How long to wait before each try of a webhook, the first included; then it is dead. */
  WEBHOOK_SCHEDULE: z
    .string()
    .default("0,5s,5m,30m,2h,5h,10h,14h,20h,24h")
    .transform((text) => text.split(","))
    .pipe(z.array(duration).min(1).max(50)),
  /** By what share each of these differs by chance. */
  WEBHOOK_JITTER: z.coerce.number().min(0).max(1).default(0.2),
  /** How long a receiver may take to answer. */
  WEBHOOK_TIMEOUT_MS: count(15_000),
  /** Of a message; answers that do not fit are left out. */
  WEBHOOK_MAX_BYTES: count(20_000),
  /** How many webhooks are tried at the same time, by this process; to one receiver; to one host. */
  WEBHOOK_CONCURRENCY: count(512),
  WEBHOOK_CONCURRENCY_PER_ENDPOINT: count(16),
  WEBHOOK_CONCURRENCY_PER_HOST: count(128),
  /** After how many failures, one after the other, a receiver is left alone for a while, for how long at first and at most. */
  WEBHOOK_BREAKER_FAILURES: count(5),
  WEBHOOK_BREAKER_MS: count(2_000),
  WEBHOOK_BREAKER_MAX_MS: count(60_000),
  /** An endpoint that has only failed for this long is disabled. */
  WEBHOOK_FAILING_S: count(5 * 86_400),
  /** How long what became of a webhook can be read, and it can be sent again. */
  DELIVERY_RETENTION_S: count(7 * 86_400),
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
    webhooks: {
      policy: policyFrom(parsed),
      timeoutMs: parsed.WEBHOOK_TIMEOUT_MS,
      schedule: { delaysMs: parsed.WEBHOOK_SCHEDULE, jitter: parsed.WEBHOOK_JITTER },
      maxBytes: parsed.WEBHOOK_MAX_BYTES,
      concurrency: parsed.WEBHOOK_CONCURRENCY,
      lanes: {
        perLane: parsed.WEBHOOK_CONCURRENCY_PER_ENDPOINT,
        perHost: parsed.WEBHOOK_CONCURRENCY_PER_HOST,
        troubles: parsed.WEBHOOK_BREAKER_FAILURES,
        closedMs: parsed.WEBHOOK_BREAKER_MS,
        maxClosedMs: parsed.WEBHOOK_BREAKER_MAX_MS,
      },
      failingMs: parsed.WEBHOOK_FAILING_S * 1_000,
      keptS: parsed.DELIVERY_RETENTION_S,
    },
  };
}

export type Config = ReturnType<typeof readConfig>;
