/** The process: opens connections, listens, and on a signal ends everything in order. */
import {
  createAnnounce,
  createApiKeys,
  createAuditLog,
  createBatches,
  createConfirm,
  createDeliveries,
  createEndpoints,
  createFiles,
  createKeys,
  createLedger,
  createQueues,
  createRateLimiter,
  createReadLinkSecret,
  connectRedis,
  openBlobs,
  Subscriber,
  untilReady,
} from "@glimpse/ledger";
import { createMetrics, createProcessLogger, watchLoopDelay } from "@glimpse/telemetry";
import { createAdmission } from "./admission/admission.ts";
import { createApp } from "./app.ts";
import { createAuth } from "./auth/create-auth.ts";
import { readConfig } from "./config.ts";
import { createFetchImage } from "./fetch-image.ts";
import { createIntake } from "./intake.ts";
import { createIntakePool } from "./intake-pool.ts";
import { limitConnections } from "./limits/connections.ts";
import { createGates } from "./limits/gates.ts";
import { createApiMetrics } from "./metrics.ts";
import { createServer } from "./server.ts";
import { createCheckWebhookUrl } from "./webhook-url.ts";

/** How long a replica may take; longer than any that is well, and short of what a client would wait for. */
const confirmMs = 500;

const log = createProcessLogger("api");
const config = readConfig();
log.level = config.logLevel;
const { limits, served, shard, retentionS } = config;
const connect = (profile: "failFast" | "bulk") =>
  connectRedis(config.redisUrl, profile, (error) => log.warn({ error }, "redis connection lost"));

const redis = connect("failFast");
const bulk = connect("bulk");
const listening = connect("failFast");
const confirming = config.durability === "replica" ? connect("failFast") : null;
const connections = [redis, bulk, listening, ...(confirming ? [confirming] : [])];
const keys = createKeys(config.keyPrefix);
const ledger = createLedger(redis, keys, { shard, retentionS, resultCacheS: config.resultCacheS });
const queues = createQueues(redis, keys, { timeoutMs: 1_000 });
const blobs = await openBlobs(config.blobs, { redis, bulk }, keys, {
  shard,
  retentionS,
  budgetBytes: config.maxBlobBytes,
});
const fetchImage = createFetchImage({
  limits,
  timeoutMs: config.imageFetchTimeoutMs,
  atOnce: config.imageFetches,
  policy: config.outbound,
});
const files = createFiles(redis, keys, blobs, { shard, retentionS });
const intake = createIntakePool(config, createIntake({ limits, blobs, ledger, files, fetchImage }));
const loopDelay = watchLoopDelay();
const closing = new AbortController();

const apiKeys = createApiKeys(redis, keys);
const gates = createGates(config.gateway, (rate) => createRateLimiter(redis, keys, rate));
const admission = createAdmission(ledger, config.admission);
const app = createApp({
  gates,
  admission,
  metrics: createApiMetrics(createMetrics({ ofProcess: true }), { admission, gates }),
  auth: createAuth(config.auth, apiKeys, createReadLinkSecret(redis, keys)),
  apiKeys,
  auditLog: createAuditLog(redis, keys),
  ledger,
  queues,
  takeIn: intake.takeIn,
  files,
  batches: createBatches(redis, keys, { shard, retentionS }),
  announce: createAnnounce(redis, keys, { shard }),
  checkWebhookUrl: createCheckWebhookUrl(config.outbound),
  endpoints: createEndpoints(redis, keys, { shard }),
  deliveries: createDeliveries(redis, keys, { shard, keptS: config.deliveryRetentionS }),
  confirm:
    confirming && createConfirm(confirming, keys, { shard, replicas: 1, timeoutMs: confirmMs }),
  subscriber: new Subscriber(listening),
  keys,
  served,
  limits,
  shares: config.shares,
  log,
  closing: closing.signal,
  streamStallMs: config.streamStallMs,
  corsOrigins: config.corsOrigins,
  publicUrl: config.publicUrl,
  isOpenLocally: config.isOpenLocally,
  loopDelay: loopDelay.read,
});

const server = createServer(app, config.server);
const { connectionsPerAddress } = config.gateway;
if (connectionsPerAddress !== null) limitConnections(server, connectionsPerAddress);
server.on("error", (error) => {
  log.fatal({ error }, "cannot listen");
  process.exit(1);
});
await Promise.all(connections.map((connection) => untilReady(connection, 1_000)));
// Thousands of streams may come back at the same moment.
server.listen({ port: config.port, host: config.host, backlog: 4_096 }, () => {
  log.info({ address: server.address(), ...served }, "ready");
});

/** Answers that are being made end first, and only then what they need. */
async function stop(signal: string): Promise<void> {
  log.info({ signal }, "stopping");
  const closed = new Promise((resolve) => server.close(resolve));
  closing.abort();
  const limit = setTimeout(() => server.closeAllConnections(), config.drainMs);
  await closed;
  clearTimeout(limit);
  loopDelay.stop();
  await Promise.all([intake.close(), queues.close()]);
  for (const connection of connections) connection.disconnect();
  log.info("stopped");
}
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop(signal));
