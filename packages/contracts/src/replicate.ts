/** Replicate's predictions: what its clients send, and a job as they want to see it. The wire format is that of replicate 1.4. */
import { z } from "zod";
import type { Job } from "./jobs.ts";
import { deadlineMs, metadata, priority } from "./jobs.ts";
import { message, options } from "./submission.ts";

const text = z.string().max(1_000_000);
const imageUrl = z
  .string()
  .min(1)
  .meta({ description: "A data URL, an https URL or a file's URL" });
const stops = z.union([z.string(), z.array(z.string())]);

/** What our models take; other models' names for the same are taken, too. */
export const predictionInput = z
  .strictObject({
    prompt: text.optional(),
    messages: z.array(message).optional(),
    system_prompt: text.optional(),
    image: imageUrl.optional(),
    image_input: z.array(imageUrl).max(64).optional(),
    images: z.array(imageUrl).max(64).optional(),
    ...options.omit({ stop: true, logprobs: true, top_logprobs: true }).shape,
    max_new_tokens: z.int().min(1).optional(),
    max_completion_tokens: z.int().min(1).optional(),
    stop: stops.optional(),
    stop_sequences: stops.optional(),
  })
  .meta({ id: "PredictionInput" });

export const webhookFilter = z.enum(["start", "output", "logs", "completed"]);

const requestShape = {
  input: predictionInput,
  webhook: z.string().min(1).max(2_048).optional(),
  webhook_events_filter: z.array(webhookFilter).max(16).optional(),
  stream: z.boolean().optional().meta({ description: "Every prediction can be streamed" }),
  /** Ours: clients pass unknown members on. */
  priority: priority.optional(),
  metadata: metadata.optional(),
  deadline_ms: deadlineMs.optional(),
};

export const predictionRequest = z
  .strictObject({ version: z.string().min(1).max(256), ...requestShape })
  .meta({ id: "PredictionRequest" });

export const modelPredictionRequest = z
  .strictObject({ version: z.string().min(1).max(256).optional(), ...requestShape })
  .meta({ id: "ModelPredictionRequest" });
export type PredictionRequest = z.infer<typeof modelPredictionRequest>;

/** What a prediction repeats of its request; loose, as it is read back from the ledger. */
export const predictionEcho = z.looseObject({
  input: z.record(z.string(), z.unknown()).default({}),
  webhook: z.string().optional(),
  webhook_events_filter: z.array(z.string()).optional(),
});
export type PredictionEcho = z.infer<typeof predictionEcho>;

const timestamp = z.string();

export const prediction = z
  .object({
    id: z.string(),
    model: z.string(),
    version: z.string(),
    input: z.record(z.string(), z.unknown()),
    output: z.string().nullable(),
    error: z.string().nullable(),
    logs: z.string(),
    status: z.enum(["starting", "processing", "succeeded", "failed", "canceled"]),
    source: z.literal("api"),
    data_removed: z.boolean(),
    created_at: timestamp,
    started_at: timestamp.nullable(),
    completed_at: timestamp.nullable(),
    deadline: timestamp.optional(),
    metrics: z.object({ predict_time: z.number().optional(), total_time: z.number().optional() }),
    webhook: z.string().optional(),
    webhook_events_filter: z.array(z.string()).optional(),
    urls: z.object({
      get: z.url(),
      cancel: z.url(),
      stream: z.url().optional(),
      web: z.url(),
    }),
  })
  .meta({ id: "Prediction" });
export type Prediction = z.infer<typeof prediction>;

/** A prediction's id is its job's without the first part. */
export function predictionId(id: string): string {
  return id.replace(/^job_/, "");
}

/** The answer is one string: its client takes each string of an array for a file when it begins like a URL. */
export function predictionOf(job: Job, echo: PredictionEcho, urls: Prediction["urls"]): Prediction {
  const { created_at, started_at, finished_at, timings, output, error, deadline_at } = job;
  const seconds = (ms: number) => Math.max(0, ms) / 1_000;
  const ranMs =
    started_at !== null && finished_at !== null && Date.parse(finished_at) - Date.parse(started_at);
  return {
    id: predictionId(job.id),
    model: `glimpse/${job.model}`,
    version: job.version,
    input: echo.input,
    output: output?.text ?? null,
    error: error?.message ?? (job.state === "expired" ? "The answer came too late." : null),
    logs: "",
    status: statusOf(job.state),
    source: "api",
    data_removed: false,
    created_at,
    started_at,
    completed_at: finished_at,
    ...(deadline_at !== null && { deadline: deadline_at }),
    metrics: {
      ...(ranMs !== false && { predict_time: seconds(ranMs) }),
      ...(timings.total_ms !== null && { total_time: seconds(timings.total_ms) }),
    },
    ...(echo.webhook !== undefined && { webhook: echo.webhook }),
    ...(echo.webhook_events_filter && { webhook_events_filter: echo.webhook_events_filter }),
    urls,
  };
}

/** `aborted` exists, but the official clients wait for ever when they meet it. */
function statusOf(state: Job["state"]): Prediction["status"] {
  if (state === "queued") return "starting";
  if (state === "running") return "processing";
  return state === "expired" ? "canceled" : state;
}
