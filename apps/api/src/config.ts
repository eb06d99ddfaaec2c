/** The API's environment, read once. */
import {
  count,
  deadlineMs,
  outboundEnvironment,
  parseEnvironment,
  servedModel,
  sharedEnvironment,
  tenantId,
} from "@glimpse/contracts";
import { policyFrom } from "@glimpse/outbound";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { authEnvironment, readAuth } from "./auth/settings.ts";
import { admissionSettings, gatewaySettings, limitsEnvironment } from "./limits/settings.ts";

const environment = sharedEnvironment.extend({
  ...outboundEnvironment.shape,
  ...limitsEnvironment.shape,
  ...authEnvironment.shape,
  PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  HOST: z.string().min(1).default("127.0.0.1"),
  MAX_BODY_BYTES: count(32 * 1024 * 1024),
  MAX_IMAGE_BYTES: count(20 * 1024 * 1024),
  MAX_IMAGES: count(16),
  /** Of an animation, whose first frame is looked at. */
  MAX_IMAGE_FRAMES: count(256),
  IMAGE_FETCH_TIMEOUT_MS: count(10_000),
  /** Pictures behind URLs that are fetched at once, by each of a process's three threads that do it. */
  MAX_IMAGE_FETCHES: count(16),
  /** What must have a job before it is acknowledged: Redis, or Redis and a replica of it. */
  DURABILITY: z.enum(["primary", "replica"]).default("primary"),
  /** How long an answer is given to identical deterministic jobs; 0 switches that off, and joining those in flight with it. */
  RESULT_CACHE_S: z.coerce.number().int().min(0).default(300),
  /** How long a job may take, from acceptance, when it does not say so itself. */
  DEFAULT_DEADLINE_MS: z.coerce.number().pipe(deadlineMs).default(3_600_000),
  /** How many jobs that have not ended a tenant may have. */
  MAX_JOBS_PER_TENANT: count(10_000),
  /** How many bytes may have been sent for them. */
  MAX_BYTES_PER_TENANT: count(2 * 1024 * 1024 * 1024),
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
  /** How long a request may take to arrive: its headers, and all of it. */
  HEADERS_TIMEOUT_MS: count(10_000),
  REQUEST_TIMEOUT_MS: count(30_000),
  /** How long a connection may stay open on which nothing moves. */
  IDLE_TIMEOUT_MS: count(120_000),
  MAX_CONNECTIONS: count(16_384),
  /** Where clients reach the API, for addresses that must be absolute; by default what each request calls it. */
  PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .transform((text) => text.replace(/\/+$/, ""))
    .optional(),
  /** Whose pages may call the API from a browser, such as `https://a.example,https://b.example`; by default nobody's but its own. */
  CORS_ORIGINS: z
    .string()
    .transform((text) => text.split(",").map((origin) => origin.trim()))
    .pipe(z.array(z.url({ protocol: /^https?$/ }).refine((text) => new URL(text).origin === text)))
    .default([]),
  /** How long what became of a webhook can be read, and it can be sent again. */
  DELIVERY_RETENTION_S: count(7 * 86_400),
  /** How long a reader of events may read nothing before its connection is cut. */
  STREAM_STALL_MS: count(30_000),
});

export type Config = ReturnType<typeof readConfig>;

export type Limits = {
  bodyBytes: number;
  imageBytes: number;
  imagePixels: number;
  /** The shorter side at least, in pixels. */
  imageSide: number;
  imageAspectRatio: number;
  imageFrames: number;
  images: number;
};

/** What jobs get that do not say otherwise, and what a tenant gets. */
export type Shares = {
  defaultDeadlineMs: number;
  maxActive: number;
  maxActiveBytes: number;
  weights: Readonly<Record<string, number>>;
};

/** Throws with one line a variable that is wrong, and when the address needs authentication that there is not. */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const parsed = parseEnvironment(environment, env);
  const limits: Limits = {
    bodyBytes: parsed.MAX_BODY_BYTES,
    imageBytes: parsed.MAX_IMAGE_BYTES,
    imagePixels: parsed.MAX_IMAGE_PIXELS,
    imageSide: parsed.MIN_IMAGE_SIDE,
    imageAspectRatio: parsed.MAX_IMAGE_ASPECT_RATIO,
    imageFrames: parsed.MAX_IMAGE_FRAMES,
    images: parsed.MAX_IMAGES,
  };
  const shares: Shares = {
    defaultDeadlineMs: parsed.DEFAULT_DEADLINE_MS,
    maxActive: parsed.MAX_JOBS_PER_TENANT,
    maxActiveBytes: parsed.MAX_BYTES_PER_TENANT,
    weights: parsed.TENANT_WEIGHTS,
  };
  const isPrivate = isLoopback(parsed.HOST);
  const auth = readAuth(parsed, parsed.HOST, isPrivate);
  const hasKeys = auth.keys || auth.jwt !== null;
  return {
    auth,
    admission: admissionSettings(parsed),
    gateway: gatewaySettings(parsed, { isPrivate, hasKeys }),
    host: parsed.HOST,
    isOpenLocally: isPrivate && !hasKeys,
    port: parsed.PORT,
    redisUrl: parsed.REDIS_URL,
    keyPrefix: parsed.KEY_PREFIX,
    shard: parsed.SHARD,
    served: servedModel(parsed),
    retentionS: parsed.RETENTION_S,
    deliveryRetentionS: parsed.DELIVERY_RETENTION_S,
    resultCacheS: parsed.RESULT_CACHE_S,
    blobs: parsed.BLOBS,
    maxBlobBytes: parsed.MAX_BLOB_BYTES,
    durability: parsed.DURABILITY,
    logLevel: parsed.LOG_LEVEL,
    outbound: policyFrom(parsed),
    imageFetchTimeoutMs: parsed.IMAGE_FETCH_TIMEOUT_MS,
    imageFetches: parsed.MAX_IMAGE_FETCHES,
    drainMs: parsed.DRAIN_MS,
    streamStallMs: parsed.STREAM_STALL_MS,
    server: {
      headersTimeoutMs: parsed.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: parsed.REQUEST_TIMEOUT_MS,
      idleTimeoutMs: parsed.IDLE_TIMEOUT_MS,
      maxConnections: parsed.MAX_CONNECTIONS,
    },
    corsOrigins: parsed.CORS_ORIGINS,
    publicUrl: parsed.PUBLIC_URL ?? null,
    limits,
    shares,
  };
}

/** Where keys are kept, for the command line; the API's other settings may be wrong or missing. */
export function readStore(env: Record<string, string | undefined> = process.env) {
  const { REDIS_URL: redisUrl, KEY_PREFIX: keyPrefix } = parseEnvironment(sharedEnvironment, env);
  return { redisUrl, keyPrefix };
}

function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const address = host.replace(/^\[|\]$/g, "");
  return ipaddr.isValid(address) && ipaddr.process(address).range() === "loopback";
}
