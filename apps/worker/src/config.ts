/** The worker's environment, read once. */
import { randomUUID } from "node:crypto";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { count, parseEnvironment, servedModel, sharedEnvironment } from "@glimpse/contracts";
import { DeviceName, deviceOf } from "@glimpse/engine";
import { z } from "zod";

const environment = sharedEnvironment.extend({
  DATA_DIR: z.string().min(1).default(".glimpse"),
  /** The cards, one worker each: "0,1,2", as CUDA_VISIBLE_DEVICES names them. */
  CARDS: z
    .string()
    .regex(/^[\w-]+(,[\w-]+)*$/, "not a list such as 0,1,2")
    .transform((list) => list.split(","))
    .optional(),
  /** Workers on a machine without cards. */
  WORKERS: count(1),
  /** Where the model runs: `cpu`, `cuda`, or `cuda:1` for the second card that the process sees. With CARDS, `cuda`. */
  DEVICE: DeviceName.optional(),
  /** Of the card, for weights, KV cache and working memory together; all of it by default. */
  GPU_MEMORY_MB: z.coerce.number().int().positive().optional(),
  /** Threads of one engine; by default the workers share all cores. */
  THREADS: z.coerce.number().int().positive().optional(),
  /** Jobs that run at once. */
  SLOTS: count(8),
  /** How long decoding one picture may take, in whole seconds. */
  IMAGE_DECODE_TIMEOUT_S: z.coerce.number().int().min(1).max(3_600).default(10),
  /** How long running jobs may go on after a request to stop. */
  GRACE_MS: count(25_000),
  /** Where `/healthz` and `/ready` are answered; nowhere by default. */
  HEALTH_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  /** Given by the fleet to each worker that it starts. */
  WORKER_ID: z.uuid().optional(),
});

export type Config = ReturnType<typeof readConfig>;

/** Throws with one line a variable that is wrong. */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const parsed = parseEnvironment(environment, env);
  const cards = parsed.CARDS ?? Array.from({ length: parsed.WORKERS }, () => null);
  const share = Math.max(1, Math.floor(availableParallelism() / cards.length));
  const { GPU_MEMORY_MB, DEVICE = parsed.CARDS ? "cuda" : "cpu" } = parsed;
  const limitBytes = DEVICE === "cpu" || !GPU_MEMORY_MB ? undefined : GPU_MEMORY_MB * 2 ** 20;
  return {
    /** What a worker is started with: the same. */
    env,
    workerId: parsed.WORKER_ID ?? randomUUID(),
    /** One worker for each of these; null stands for no card. */
    cards,
    healthPort: parsed.HEALTH_PORT,
    redisUrl: parsed.REDIS_URL,
    keyPrefix: parsed.KEY_PREFIX,
    shard: parsed.SHARD,
    served: servedModel(parsed),
    retentionS: parsed.RETENTION_S,
    blobs: parsed.BLOBS,
    maxBlobBytes: parsed.MAX_BLOB_BYTES,
    logLevel: parsed.LOG_LEVEL,
    modelDir: parsed.MODEL_DIR,
    /** Where converted models are kept. */
    cacheDir: join(parsed.DATA_DIR, "models"),
    /** Where Node keeps our code compiled, so that a worker is soon started again. It is run, so nobody else may write there. */
    codeCacheDir: join(parsed.DATA_DIR, "code"),
    device: deviceOf(DEVICE, limitBytes),
    threads: parsed.THREADS ?? share,
    slots: parsed.SLOTS,
    pictures: {
      maxPixels: parsed.MAX_IMAGE_PIXELS,
      minSide: parsed.MIN_IMAGE_SIDE,
      maxAspectRatio: parsed.MAX_IMAGE_ASPECT_RATIO,
      decodeTimeoutS: parsed.IMAGE_DECODE_TIMEOUT_S,
    },
    graceMs: parsed.GRACE_MS,
  };
}
