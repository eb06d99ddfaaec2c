/** What the gateway leaves for the worker: the queue's payload and the job's input. Loose, so that a newer release's fields survive. */
import { z } from "zod";
import { jobId, versionName } from "./jobs.ts";
import { options } from "./submission.ts";

/** What there is to be done with a job; a worker leaves kinds that it does not know to workers of a later release. */
export const jobKind = "generate";

/** A reference and nothing else: what the worker needs is in the ledger. */
export const queuePayload = z.looseObject({
  id: jobId,
  version: versionName,
  /** `jobKind` if missing. */
  kind: z.string().optional(),
});
export type QueuePayload = z.infer<typeof queuePayload>;

/** SHA-256 in hex. */
export const digest = z.string().regex(/^[0-9a-f]{64}$/);

const inputPart = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("image"), digest }),
]);

/** A job's question, with its pictures as blobs' names. */
export const jobInput = z.looseObject({
  messages: z.array(
    z.object({
      role: z.enum(["system", "user", "assistant"]),
      content: z.union([z.string(), z.array(inputPart)]),
    }),
  ),
  options,
});
export type JobInput = z.infer<typeof jobInput>;
export type InputMessage = JobInput["messages"][number];
export type InputPart = z.infer<typeof inputPart>;

export const loopDelay = z
  .object({ p50: z.number(), p99: z.number(), max: z.number() })
  .meta({ description: "How late the process's event loop was over the last ten seconds" });

/** What a live worker says of itself every few seconds. */
export const workerBeat = z.looseObject({
  id: z.string(),
  model: z.string(),
  version: z.string(),
  slots: z.int(),
  running: z.int(),
  event_loop_delay_ms: loopDelay,
});
export type WorkerBeat = z.infer<typeof workerBeat>;
