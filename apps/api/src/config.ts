/** The API's environment, read once. */
import {
  count,
  deadlineMs,
  parseEnvironment,
  servedModel,
  sharedEnvironment,
  tenantId,
} from "@glimpse/contracts";
import ipaddr from "ipaddr.js";
import { z } from "zod";

const environment = sharedEnvironment.extend({
  PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  HOST: z.string().min(1).default("127.0.0.1"),
  /** The only way to say "no authentication" on an address that others can reach. */
  AUTH: z.literal("none").optional(),
  MAX_BODY_BYTES: count(32 * 1024 * 1024),
  MAX_IMAGE_BYTES: count(20 * 1024 * 1024),
  MAX_IMAGES: count(16),
  IMAGE_FETCH_TIMEOUT_MS: count(10_000),
  /** What must have a job before it is acknowledged: Redis, or Redis and a replica of it. */
  DURABILITY: z.enum(["primary", "replica"]).default("primary"),
  /** How long an answer is given to identical deterministic jobs; 0 switches that off, and joining those in flight with it. */
  RESULT_CACHE_S: z.coerce.number().int().min(0).default(300),
  /** How long a job may take, from acceptance, when it does not say so itself. */
  DEFAULT_DEADLINE_MS: z.coerce.number().pipe(deadlineMs).default(3_600_000),
  /** How many jobs that have not ended a tenant may have. */
  MAX_JOBS_PER_TENANT: count(10_000),
  /** Tenants' shares of the workers against each other, such as `a=2,b=0.5`; who is not named has 1. */
  TENANT_WEIGHTS: z
    .string()
    .transform((text) => Object.fromEntries(text.split(",").map((entry) => entry.split("="))))
    .pipe(
      z.record(
        tenantId,
        z.coerce
          .number()
          .min(1 / 64)
          .max(16),
      ),
    )
    .default({}),
  DRAIN_MS: count(10_000),
  /** How long a reader of events may read nothing before its connection is cut. */
  STREAM_STALL_MS: count(30_000),
});

export type Config = ReturnType<typeof readConfig>;

export type Limits = { bodyBytes: number; imageBytes: number; imagePixels: number; images: number };

/** What jobs get that do not say otherwise, and what a tenant gets. */
export type Shares = {
  defaultDeadlineMs: number;
  maxActive: number;
  weights: Readonly<Record<string, number>>;
};

/** Throws with one line a variable that is wrong, and when the address needs authentication that there is not. */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const parsed = parseEnvironment(environment, env);
  if (!isLoopback(parsed.HOST) && parsed.AUTH !== "none") {
    throw new Error(
      `HOST=${parsed.HOST} can be reached by others and there is no authentication. ` +
        "Listen on 127.0.0.1, or say that you mean it: AUTH=none.",
    );
  }
  const limits: Limits = {
    bodyBytes: parsed.MAX_BODY_BYTES,
    imageBytes: parsed.MAX_IMAGE_BYTES,
    imagePixels: parsed.MAX_IMAGE_PIXELS,
    images: parsed.MAX_IMAGES,
  };
  const shares: Shares = {
    defaultDeadlineMs: parsed.DEFAULT_DEADLINE_MS,
    maxActive: parsed.MAX_JOBS_PER_TENANT,
    weights: parsed.TENANT_WEIGHTS,
  };
  return {
    host: parsed.HOST,
    port: parsed.PORT,
    redisUrl: parsed.REDIS_URL,
    keyPrefix: parsed.KEY_PREFIX,
    shard: parsed.SHARD,
    served: servedModel(parsed),
    retentionS: parsed.RETENTION_S,
    resultCacheS: parsed.RESULT_CACHE_S,
    blobs: parsed.BLOBS,
    maxBlobBytes: parsed.MAX_BLOB_BYTES,
    durability: parsed.DURABILITY,
    logLevel: parsed.LOG_LEVEL,
    imageFetchTimeoutMs: parsed.IMAGE_FETCH_TIMEOUT_MS,
    drainMs: parsed.DRAIN_MS,
    streamStallMs: parsed.STREAM_STALL_MS,
    limits,
    shares,
  };
}

function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const address = host.replace(/^\[|\]$/g, "");
  return ipaddr.isValid(address) && ipaddr.process(address).range() === "loopback";
}
