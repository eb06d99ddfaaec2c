/** The worker's environment, read once. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { count, parseEnvironment, servedModel, sharedEnvironment } from "@glimpse/contracts";
import { DeviceName, deviceOf } from "@glimpse/engine";
import { z } from "zod";

const environment = sharedEnvironment.extend({
  DATA_DIR: z.string().min(1).default(".glimpse"),
  /** Where the model runs: `cpu`, `cuda`, or `cuda:1` for the second card that the process sees. */
  DEVICE: DeviceName.default("cpu"),
  /** Of the card, for weights, KV cache and working memory together; all of it by default. */
  GPU_MEMORY_MB: z.coerce.number().int().positive().optional(),
  /** Threads of one engine; all cores by default. */
  THREADS: count(availableParallelism()),
  /** Jobs that run at once. */
  SLOTS: count(8),
  /** How long running jobs may go on after a request to stop. */
  GRACE_MS: count(25_000),
});

export type Config = ReturnType<typeof readConfig>;

/** Throws with one line a variable that is wrong. */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const parsed = parseEnvironment(environment, env);
  const { DEVICE, GPU_MEMORY_MB } = parsed;
  const limitBytes = DEVICE === "cpu" || !GPU_MEMORY_MB ? undefined : GPU_MEMORY_MB * 2 ** 20;
  return {
    redisUrl: parsed.REDIS_URL,
    keyPrefix: parsed.KEY_PREFIX,
    shard: parsed.SHARD,
    served: servedModel(parsed),
    retentionS: parsed.RETENTION_S,
    logLevel: parsed.LOG_LEVEL,
    modelDir: parsed.MODEL_DIR,
    /** Where converted models are kept. */
    cacheDir: join(parsed.DATA_DIR, "models"),
    device: deviceOf(DEVICE, limitBytes),
    threads: parsed.THREADS,
    slots: parsed.SLOTS,
    maxImagePixels: parsed.MAX_IMAGE_PIXELS,
    graceMs: parsed.GRACE_MS,
  };
}
