/** Files, and batches of requests made of them: as they are kept, and as they are asked for. */
import { z } from "zod";
import { metadata } from "./jobs.ts";
import { digest } from "./work.ts";

/** `file-`, `batch_` and 128 random bits in hex. */
export const fileId = z.string().regex(/^file-[0-9a-f]{32}$/);
export const batchId = z.string().regex(/^batch_[0-9a-f]{32}$/);

export const keptFile = z.looseObject({
  name: z.string(),
  purpose: z.string(),
  bytes: z.int(),
  digest,
  createdMs: z.int(),
});
export type KeptFile = z.infer<typeof keptFile>;

/** How a batch can end. */
export const batchEnd = z.enum(["completed", "failed", "canceled", "expired"]);
export type BatchEnd = z.infer<typeof batchEnd>;

/** Lines are counted from 0; those before `next` have been submitted or refused, those before `settled` have come to their end. */
export const keptBatch = z.looseObject({
  file: z.string(),
  digest,
  endpoint: z.string(),
  metadata,
  createdMs: z.int(),
  expiresMs: z.int(),
  lines: z.int(),
  next: z.int(),
  settled: z.int(),
  /** Of the lines before `settled`. */
  succeeded: z.int(),
  /** Of all lines, as far as is known. */
  counts: z.object({ succeeded: z.int(), failed: z.int() }),
  cancelMs: z.int().nullable(),
  end: batchEnd.nullable(),
  endMs: z.int().nullable(),
  outputFile: z.string().nullable(),
  errorFile: z.string().nullable(),
});
export type KeptBatch = z.infer<typeof keptBatch>;

export const batchRequest = z
  .strictObject({
    input_file_id: z.string(),
    endpoint: z.enum(["/v1/chat/completions", "/v1/responses"]),
    completion_window: z.literal("24h"),
    metadata: metadata.nullish(),
    output_expires_after: z.unknown().optional(),
  })
  .meta({ id: "BatchRequest" });

/** A line of a batch's file; its body is held to its own schema. */
export const batchLine = z.strictObject({
  custom_id: z.string().min(1).max(512),
  method: z.literal("POST"),
  url: z.enum(["/v1/chat/completions", "/v1/responses"]),
  body: z.unknown(),
});
