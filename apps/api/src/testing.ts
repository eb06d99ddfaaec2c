/** An app on the test run's Redis, and pictures to send it. Not for production. */
import { crc32, deflateSync } from "node:zlib";
import {
  createAnnounce,
  createApiKeys,
  createAuditLog,
  createBatches,
  createDeliveries,
  createEndpoints,
  createFiles,
  createRateLimiter,
  createReadLinkSecret,
} from "@glimpse/ledger";
import { openTestLedger } from "@glimpse/ledger/testing";
import { createLogger, createMetrics } from "@glimpse/telemetry";
import { createAdmission } from "./admission/admission.ts";
import type { AppDeps } from "./app.ts";
import { createApp } from "./app.ts";
import { createAuth } from "./auth/create-auth.ts";
import { readConfig } from "./config.ts";
import { createFetchImage } from "./fetch-image.ts";
import { createIntake } from "./intake.ts";
import { createIntakePool } from "./intake-pool.ts";
import { createGates } from "./limits/gates.ts";
import { createCheckWebhookUrl } from "./webhook-url.ts";
import { createApiMetrics } from "./metrics.ts";

export const testLimits = {
  bodyBytes: 4_000_000,
  imageBytes: 2_000_000,
  imagePixels: 1_000_000,
  imageSide: 8,
  imageAspectRatio: 200,
  imageFrames: 16,
  images: 4,
};

/** `env`: settings that are read as the process reads its environment. */
export async function openTestApp(
  overrides: Partial<AppDeps> = {},
  env: Record<string, string> = {},
) {
  const open = await openTestLedger();
  const config = readConfig({ REDIS_URL: open.url, KEY_PREFIX: open.prefix, ...env });
  const apiKeys = createApiKeys(open.redis, open.keys);
  const fetchImage = createFetchImage({
    limits: testLimits,
    timeoutMs: 1_000,
    atOnce: config.imageFetches,
    policy: config.outbound,
  });
  const files = createFiles(open.redis, open.keys, open.blobs, { shard: "0", retentionS: 3_600 });
  const inPlace = createIntake({ ...open, files, limits: testLimits, fetchImage });
  const intake = createIntakePool({ ...config, limits: testLimits }, inPlace);
  const closing = new AbortController();
  const gates = createGates(config.gateway, (rate) =>
    createRateLimiter(open.redis, open.keys, rate),
  );
  const deliveries = createDeliveries(open.redis, open.keys, { shard: "0", keptS: 3_600 });
  const admission = createAdmission(open.ledger, config.admission);
  const metrics = createMetrics({ ofProcess: false });
  const app = createApp({
    ...open,
    gates,
    admission,
    metrics: createApiMetrics(metrics, { admission, gates }),
    auth: createAuth(config.auth, apiKeys, createReadLinkSecret(open.redis, open.keys)),
    apiKeys,
    auditLog: createAuditLog(open.redis, open.keys),
    takeIn: intake.takeIn,
    files,
    batches: createBatches(open.redis, open.keys, { shard: "0", retentionS: 3_600 }),
    announce: createAnnounce(open.redis, open.keys, { shard: "0" }),
    checkWebhookUrl: createCheckWebhookUrl(config.outbound),
    endpoints: createEndpoints(open.redis, open.keys, { shard: "0" }),
    deliveries,
    confirm: null,
    served: config.served,
    limits: testLimits,
    shares: config.shares,
    log: createLogger("test", "silent"),
    closing: closing.signal,
    streamStallMs: 1_000,
    corsOrigins: ["https://friend.example"],
    publicUrl: null,
    isOpenLocally: config.isOpenLocally,
    loopDelay: () => ({ p50: 0, p99: 0, max: 0 }),
    ...overrides,
  });
  const { ledger, blobs, queues, subscriber, keys } = open;
  return {
    ledger,
    blobs,
    queues,
    subscriber,
    keys,
    apiKeys,
    deliveries,
    app,
    /** Forgets the log's events before number `first`. */
    dropLog: (id: string, first: number) =>
      open.redis.xtrim(open.keys.log(id), "MINID", `${first}-0`),
    /** Appends an event to the log as a later release might, and publishes it unless that is to be lost. */
    async appendRaw(
      id: string,
      event: { id: number; [field: string]: unknown },
      how: "announced" | "unannounced" = "announced",
    ) {
      const json = JSON.stringify(event);
      await open.redis.xadd(open.keys.log(id), `${event.id}-1`, "event", json);
      await open.redis.hset(open.keys.job(id), "events", event.id + 1);
      if (how === "announced") await open.redis.publish(open.keys.channel(id), json);
    },
    /** Has the store of pictures hold this many bytes more than it does. */
    pretendBlobBytes: (bytes: number) => open.redis.incrby(open.keys.blobTotal("0"), bytes),
    /** Loses the job, as a Redis that has lost its data does. */
    dropJob: (id: string) => open.redis.del(open.keys.job(id), open.keys.log(id)),
    /** How many connections listen to the job's events. */
    listeners: async (id: string) =>
      Number((await open.redis.pubsub("NUMSUB", open.keys.channel(id)))[1]),
    /** Loses the subscriber's connection, which then comes back. */
    cutSubscriber: () => open.listening.disconnect(true),
    async close() {
      closing.abort();
      await intake.close();
      await open.close();
    },
  };
}

/** A grey PNG of the given size; `cut` keeps only its first bytes. */
export function png(
  width: number,
  height: number,
  cut = Number.POSITIVE_INFINITY,
): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0], 8);
  const rows = deflateSync(Buffer.alloc(Math.min(height * (width + 1), 4_000_000), 0));
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const file = Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", rows),
    chunk("IEND", Buffer.alloc(0)),
  ]);
  return new Uint8Array(file.subarray(0, cut));
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

export function dataUrl(bytes: Uint8Array, type = "image/png"): string {
  return `data:${type};base64,${Buffer.from(bytes).toString("base64")}`;
}
