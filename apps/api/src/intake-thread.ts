/** The thread that takes in big bodies. Errors lose their class between threads, so refusals go back as values. */
import { workerData } from "node:worker_threads";
import type { ErrorCode } from "@glimpse/contracts";
import { connectRedis, createKeys, openBlobs, untilReady } from "@glimpse/ledger";
import type { Config } from "./config.ts";
import { refusalOf } from "./errors.ts";
import { createFetchImage } from "./fetch-image.ts";
import type { TakenIn } from "./intake.ts";
import { createIntake } from "./intake.ts";

export type IntakeTask = { bytes: Uint8Array<ArrayBuffer>; contentType: string };
export type IntakeReply =
  | { ok: true; taken: TakenIn }
  | { ok: false; code: ErrorCode; message: string; param: string | null };

const config = workerData as Config;
const { redisUrl, keyPrefix, shard, retentionS, limits, maxBlobBytes: budgetBytes } = config;
const redis = connectRedis(redisUrl, "failFast", () => {});
const bulk = connectRedis(redisUrl, "bulk", () => {});
const blobs = await openBlobs(config.blobs, { redis, bulk }, createKeys(keyPrefix), {
  shard,
  retentionS,
  budgetBytes,
});
const fetchImage = createFetchImage({ limits, timeoutMs: config.imageFetchTimeoutMs });
const takeIn = createIntake({ limits, blobs, fetchImage });
await Promise.all([untilReady(redis, 1_000), untilReady(bulk, 1_000)]);

export default async function takeInTask({ bytes, contentType }: IntakeTask): Promise<IntakeReply> {
  try {
    return { ok: true, taken: await takeIn(bytes, contentType) };
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    const { code, message, param } = refusal;
    return { ok: false, code, message, param };
  }
}
