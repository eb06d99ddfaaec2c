/** The thread that takes in big bodies. Errors lose their class between threads, so refusals go back as values. */
import { workerData } from "node:worker_threads";
import type { ErrorCode } from "@glimpse/contracts";
import {
  connectRedis,
  createKeys,
  createRedisBlobs,
  isRedisUnavailable,
  untilReady,
} from "@glimpse/ledger";
import { ApiError } from "./api-error.ts";
import type { Config } from "./config.ts";
import { createFetchImage } from "./fetch-image.ts";
import type { TakenIn } from "./intake.ts";
import { createIntake } from "./intake.ts";

export type IntakeTask = { bytes: Uint8Array<ArrayBuffer>; contentType: string };
export type IntakeReply =
  | { ok: true; taken: TakenIn }
  | { ok: false; code: ErrorCode; message: string; param: string | null };

const config = workerData as Config;
const { redisUrl, keyPrefix, shard, retentionS, limits } = config;
const redis = connectRedis(redisUrl, "failFast", () => {});
const bulk = connectRedis(redisUrl, "bulk", () => {});
const blobs = createRedisBlobs(redis, bulk, createKeys(keyPrefix), { shard, ttlS: retentionS });
const fetchImage = createFetchImage({ limits, timeoutMs: config.imageFetchTimeoutMs });
const takeIn = createIntake({ limits, blobs, fetchImage });
await Promise.all([untilReady(redis, 1_000), untilReady(bulk, 1_000)]);

export default async function takeInTask({ bytes, contentType }: IntakeTask): Promise<IntakeReply> {
  try {
    return { ok: true, taken: await takeIn(bytes, contentType) };
  } catch (error) {
    if (error instanceof ApiError) {
      const { code, message, param } = error;
      return { ok: false, code, message, param };
    }
    if (isRedisUnavailable(error))
      return {
        ok: false,
        code: "unavailable",
        message: "Pictures cannot be kept just now.",
        param: null,
      };
    throw error;
  }
}
