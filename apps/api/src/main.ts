/** The process: opens connections, listens, and on a signal ends everything in order. */
import {
  createConfirm,
  createKeys,
  createLedger,
  createQueues,
  connectRedis,
  openBlobs,
  Subscriber,
  untilReady,
} from "@glimpse/ledger";
import { createProcessLogger, watchLoopDelay } from "@glimpse/telemetry";
import type { HttpBindings } from "@hono/node-server";
import { createAdaptorServer } from "@hono/node-server";
import { createApp } from "./app.ts";
import { readConfig } from "./config.ts";
import { createFetchImage } from "./fetch-image.ts";
import { createIntake } from "./intake.ts";
import { createIntakePool } from "./intake-pool.ts";

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
const fetchImage = createFetchImage({ limits, timeoutMs: config.imageFetchTimeoutMs });
const intake = createIntakePool(config, createIntake({ limits, blobs, ledger, fetchImage }));
const loopDelay = watchLoopDelay();
const closing = new AbortController();

const app = createApp({
  ledger,
  queues,
  takeIn: intake.takeIn,
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
  loopDelay: loopDelay.read,
});

const server = createAdaptorServer({
  // A proxy's form of request (GET http://other/) is not for us.
  fetch: (request, env) => {
    const { incoming } = env as HttpBindings;
    return incoming.url?.startsWith("/")
      ? app.fetch(request, env)
      : new Response(null, { status: 400 });
  },
  serverOptions: {
    headersTimeout: 10_000,
    requestTimeout: 120_000,
    connectionsCheckingInterval: 5_000,
  },
});
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
  const limit = setTimeout(
    () => "closeAllConnections" in server && server.closeAllConnections(),
    config.drainMs,
  );
  await closed;
  clearTimeout(limit);
  loopDelay.stop();
  await Promise.all([intake.close(), queues.close()]);
  for (const connection of connections) connection.disconnect();
  log.info("stopped");
}
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop(signal));
