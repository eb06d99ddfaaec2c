/** Connections to Redis: what to do when it does not answer is decided here and nowhere else. */
import { once } from "node:events";
import { Redis } from "ioredis";
import type { RedisOptions } from "ioredis";

/** ioredis waits up to 5 s between tries by default; after an outage that is most of the delay. */
const retryStrategy = (times: number) => Math.min(times * 50, 1_000);

const profiles = {
  /** For those who must answer now: no queue of unsent commands, no retry, an error within a second; a silent dead socket is dropped. */
  failFast: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 1_000,
    socketTimeout: 3_000,
    connectTimeout: 2_000,
  },
  /** For megabytes on behalf of those who must answer now. */
  bulk: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 10_000,
    socketTimeout: 15_000,
    connectTimeout: 2_000,
  },
  /** For those who must get through: commands wait for Redis to return; a silent dead socket is noticed in 15 s. */
  patient: {
    maxRetriesPerRequest: null,
    socketTimeout: 15_000,
    connectTimeout: 5_000,
    keepAlive: 5_000,
  },
} as const satisfies Record<string, RedisOptions>;

/**
 * Opens a connection, which reconnects for ever. `onLost` is told once each time it is lost; errors never bring the process down.
 * `autoResubscribe` is off because `Subscriber` does it, and says so to its listeners.
 */
export function connectRedis(
  url: string,
  profile: keyof typeof profiles,
  onLost: (error: Error) => void,
): Redis {
  const redis = new Redis(url, { ...profiles[profile], retryStrategy, autoResubscribe: false });
  let isLost = false;
  redis.on("error", (error) => {
    if (!isLost) onLost(error);
    isLost = true;
  });
  redis.on("ready", () => {
    isLost = false;
  });
  redis.on("connect", () => gatherWrites(redis.stream));
  return redis;
}

/** What is sent in one turn of the event loop, whoever caused it, leaves in one write: for most commands that costs more than all the rest. */
function gatherWrites(socket: Redis["stream"]): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]) => {
    if (socket.writableCorked === 0) {
      socket.cork();
      setImmediate(() => socket.uncork());
    }
    return write(...args);
  };
}

/** Waits until the connection is ready, or for `timeoutMs`: a `failFast` one refuses commands before that. */
export async function untilReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === "ready") return;
  await once(redis, "ready", { signal: AbortSignal.timeout(timeoutMs) }).catch(() => {});
}

/** Redis answered, but cannot serve: full, read-only, loading, without disk or quorum. */
const refusals =
  /^(OOM|MISCONF|LOADING|READONLY|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN)\b/;

/** Lost, slow and closed connections; ioredis has no class for most of them. */
const losses =
  /^(Stream isn't writeable|Command timed out|Command aborted|Connection is closed|Reached the max retries|Socket timeout|connect |read |write )/;

/** Whether an error means "Redis cannot serve just now" rather than a defect of ours. */
export function isRedisUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error.name === "ReplyError" ? refusals : losses).test(error.message);
}
