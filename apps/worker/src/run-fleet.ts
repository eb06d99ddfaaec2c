/** Runs a fleet for as long as its process lives, and gives back to the queue what its dead workers held. */
import { createKeys, createLedger, connectRedis } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { Queue } from "bullmq";
import type { Config } from "./config.ts";
import type { Death } from "./fleet.ts";
import { startFleet } from "./fleet.ts";
import { serveHealth } from "./health.ts";
import { putBackAllOf } from "./release.ts";

/**
 * `program` is one worker's. The first SIGTERM or SIGINT drains the workers, a second one ends their grace; exits with 0 when
 * all have ended in order. Exits with a worker's code when none can be started at all.
 */
export function runFleet(program: URL, { config, log }: { config: Config; log: Logger }): void {
  const { shard, served, retentionS, cards, healthPort } = config;
  const redis = connectRedis(config.redisUrl, "patient", (error) =>
    log.warn({ error }, "redis connection lost"),
  );
  const keys = createKeys(config.keyPrefix);
  const ledger = createLedger(redis, keys, { shard, retentionS });
  const queue = new Queue(served.version, { connection: redis, prefix: keys.queue(shard) });
  queue.on("error", () => {}); // the connection's own listener has it
  const releases = new Set<Promise<void>>();

  function onDeath({ workerId, crashed }: Death): void {
    const release = giveBack(workerId, crashed)
      .catch((error: unknown) => log.warn({ error }, "a dead worker's jobs wait for their locks"))
      .finally(() => releases.delete(release));
    releases.add(release);
  }

  async function giveBack(workerId: string, crashed: boolean): Promise<void> {
    await ledger.retire(workerId);
    const jobs = await putBackAllOf(workerId, crashed, { redis, queue, ledger });
    if (jobs.length > 0)
      log.warn({ worker: workerId, crashed, jobs }, "a dead worker's jobs are queued again");
  }

  const fleet = startFleet({
    program,
    cards,
    env: {
      NODE_COMPILE_CACHE: config.codeCacheDir,
      ...config.env,
      // libvips reads this when it is loaded: a second lock on the loaders that the engine blocks by itself.
      VIPS_BLOCK_UNTRUSTED: "1",
    },
    log,
    onDeath,
    onHopeless: (code) => {
      log.fatal({ code }, "no worker can be started");
      process.exit(code);
    },
  });
  const health = healthPort === undefined ? undefined : serveHealth(healthPort, fleet.read);

  let asked = false;
  async function stop(signal: string): Promise<void> {
    log.info({ signal }, "stopping");
    const isFirst = !asked;
    asked = true;
    const inOrder = await fleet.stop();
    if (!isFirst) return;
    health?.close();
    await Promise.all(releases);
    log.info("stopped");
    process.exit(inOrder ? 0 : 1);
  }
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
}
