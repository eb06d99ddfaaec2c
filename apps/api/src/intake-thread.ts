/** The thread that takes in big bodies. Errors lose their class between threads, so refusals go back as values. */
import { workerData } from "node:worker_threads";
import type { ErrorCode } from "@glimpse/contracts";
import {
  connectRedis,
  createFiles,
  createKeys,
  createLedger,
  openBlobs,
  untilReady,
} from "@glimpse/ledger";
import type { Config } from "./config.ts";
import { refusalOf } from "./errors.ts";
import { createFetchImage } from "./fetch-image.ts";
import type { Choice, Intake, TakenIn } from "./intake.ts";
import { createIntake } from "./intake.ts";

export type IntakeConfig = Omit<Config, "auth">;
export type IntakeTask = {
  bytes: Uint8Array<ArrayBuffer>;
  contentType: string;
  choice: Choice | null;
  from: Parameters<Intake>[3];
};
export type IntakeReply =
  | { ok: true; taken: TakenIn | "known" }
  | { ok: false; code: ErrorCode; message: string; param: string | null };

const config = workerData as IntakeConfig;
const { redisUrl, keyPrefix, shard, retentionS, limits, maxBlobBytes: budgetBytes } = config;
const redis = connectRedis(redisUrl, "failFast", () => {});
const bulk = connectRedis(redisUrl, "bulk", () => {});
const keys = createKeys(keyPrefix);
const ledger = createLedger(redis, keys, { shard, retentionS });
const blobs = await openBlobs(config.blobs, { redis, bulk }, keys, {
  shard,
  retentionS,
  budgetBytes,
});
const fetchImage = createFetchImage({
  limits,
  timeoutMs: config.imageFetchTimeoutMs,
  atOnce: config.imageFetches,
  policy: config.outbound,
});
const files = createFiles(redis, keys, blobs, { shard, retentionS });
const takeIn = createIntake({ limits, blobs, ledger, files, fetchImage });
await Promise.all([untilReady(redis, 1_000), untilReady(bulk, 1_000)]);

export default async function takeInTask({
  bytes,
  contentType,
  choice,
  from,
}: IntakeTask): Promise<IntakeReply> {
  try {
    return { ok: true, taken: await takeIn(bytes, contentType, choice, from) };
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    const { code, message, param } = refusal;
    return { ok: false, code, message, param };
  }
}
