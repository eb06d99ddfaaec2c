/** The job as clients see it, and the names it goes by. */
import { z } from "zod";
import { jobError } from "./errors.ts";

export const jobState = z.enum(["queued", "running", "succeeded", "failed", "canceled", "expired"]);
export type JobState = z.infer<typeof jobState>;

export const terminalState = jobState.extract(["succeeded", "failed", "canceled", "expired"]);
export type TerminalState = z.infer<typeof terminalState>;

/** Whether a job in this state will never change again. */
export function isTerminal(state: string): state is TerminalState {
  return terminalState.safeParse(state).success;
}

/** `job_<shard>_<128 random bits in hex>`: safe in URLs, in Redis keys and as a BullMQ job id (no colon, not all digits). */
export const jobId = z.string().regex(/^job_[a-z0-9]{1,16}_[0-9a-f]{32}$/, "not a job id");

/** Who pays; also part of keys' names, so no colon and no brace. */
export const tenantId = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "not a tenant's id");

/** The tenant of whoever has not said who they are. */
export const defaultTenant = "default";

/** A model's name; also part of a queue's name, so no colon. */
export const modelName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "letters, digits, dot, dash and underscore only");

/** `<model>@<version>`, such as `glm-4.6v-flash@2`. */
export const versionName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[A-Za-z0-9._-]{1,32}$/, "not <model>@<version>");

/** Weighs against the same tenant's other jobs only. */
export const priority = z.enum(["low", "normal", "high"]).meta({
  description: "Which of one's own jobs goes first; other tenants' jobs are not affected",
});
export type Priority = z.infer<typeof priority>;

/** A day at most: longer than that nobody waits, and pictures are not kept. */
export const deadlineMs = z.int().min(1).max(86_400_000).meta({
  description: "Milliseconds from acceptance after which the answer is not wanted any more",
});

export const metadata = z
  .record(z.string().min(1).max(64), z.string().max(512))
  .refine((entries) => Object.keys(entries).length <= 16, "must have at most 16 entries")
  .meta({ description: "Up to 16 strings that come back with the job" });
export type Metadata = z.infer<typeof metadata>;

const tokenScore = z.object({
  token: z.string().meta({ description: "Its text; a part of a character shows as U+FFFD" }),
  bytes: z.array(z.int().min(0).max(255)).meta({ description: "Its text in UTF-8" }),
  logprob: z.number().meta({
    description: "Natural logarithm of its probability before temperature and other sampling",
  }),
});

/** A token of the answer; the members are named as OpenAI's. */
export const tokenLogprob = tokenScore.extend({
  top_logprobs: z.array(tokenScore).meta({ description: "The likeliest here, best first" }),
});
export type TokenLogprob = z.infer<typeof tokenLogprob>;

export const output = z.object({
  text: z.string(),
  reasoning: z
    .string()
    .nullable()
    .meta({ description: "What the model thought before it answered; null if it did not" }),
  finish_reason: z.enum(["stop", "length"]),
  logprobs: z.array(tokenLogprob).optional().meta({
    description:
      "Of the answer's tokens, not of its reasoning; there if options.logprobs asked for it, but not in lists of jobs",
  }),
});
export type Output = z.infer<typeof output>;

export const usage = z.object({
  prompt_tokens: z.int(),
  image_tokens: z.int().meta({ description: "Those of prompt_tokens that stand for pictures" }),
  completion_tokens: z.int(),
});
export type Usage = z.infer<typeof usage>;

export const timings = z.object({
  queue_ms: z
    .number()
    .nullable()
    .meta({ description: "From acceptance to the start of the latest attempt" }),
  first_token_ms: z
    .number()
    .nullable()
    .meta({ description: "From acceptance to the first piece of the latest attempt" }),
  total_ms: z.number().nullable().meta({ description: "From acceptance to the end" }),
});
export type Timings = z.infer<typeof timings>;

const queuePlace = z.object({
  position: z.int().positive().meta({
    description:
      "1 is the next to be run; jobs of lower priority that stand ahead of one's own step back when they come up",
  }),
  estimated_wait_ms: z
    .int()
    .nonnegative()
    .nullable()
    .meta({ description: "Null while nothing is known of how fast jobs are run" }),
});
export type QueuePlace = z.infer<typeof queuePlace>;

export const timestamp = z.iso.datetime({ offset: false });

export const job = z
  .object({
    id: jobId,
    object: z.literal("job"),
    state: jobState,
    model: modelName,
    version: versionName,
    created_at: timestamp,
    started_at: timestamp.nullable().meta({ description: "The start of the latest attempt" }),
    finished_at: timestamp.nullable(),
    deadline_at: timestamp
      .nullable()
      .meta({ description: "When the job expires if it has not ended" }),
    priority,
    queue: queuePlace
      .nullable()
      .meta({ description: "The place of a queued job, when it is read by itself" }),
    output: output.nullable(),
    usage: usage.nullable(),
    timings,
    error: jobError.nullable(),
    attempt: z.int().meta({ description: "How many times a worker has started this job" }),
    reused: z.boolean().meta({ description: "The answer is that of an identical job" }),
    metadata,
    links: z.object({ self: z.string(), events: z.string(), cancel: z.string() }),
  })
  .meta({ id: "Job" });
export type Job = z.infer<typeof job>;
