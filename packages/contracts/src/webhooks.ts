/** Who is told of what, and what became of it. A delivery is one message to one address, with its tries. */
import { z } from "zod";
import { jobId, tenantId, timestamp } from "./jobs.ts";

/** Events of a job; a webhook that does not say which gets the last four. */
export const jobWebhookEvent = z.enum([
  "job.running",
  "job.delta",
  "job.succeeded",
  "job.failed",
  "job.canceled",
  "job.expired",
]);

export const webhookEvent = z.enum([
  ...jobWebhookEvent.options,
  "batch.completed",
  "batch.failed",
  "batch.canceled",
  "batch.expired",
]);
export type WebhookEvent = z.infer<typeof webhookEvent>;

/** What is sent to whoever has not said which events. */
export const defaultWebhookEvents: WebhookEvent[] = webhookEvent.options.filter(
  (event) => event !== "job.running" && event !== "job.delta",
);

/** Whether a URL may be called is decided where it is used; here only that it is a short string. */
const url = z.string().min(1).max(2_048).meta({ description: "An https URL" });

/** 24 to 64 bytes in base64, as Standard Webhooks has it. */
export const webhookSecret = z
  .string()
  .regex(/^whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/)
  .refine((secret) => {
    const bytes = Buffer.from(secret.slice("whsec_".length), "base64").length;
    return bytes >= 24 && bytes <= 64;
  }, "must be whsec_ and 24 to 64 bytes in base64");

export const webhookPayload = z.enum(["thin", "full"]).meta({
  description:
    "Whether a message carries the answer (as long as it stays small), or only that there is one",
});

const eventsOf = <T extends z.ZodType>(event: T) =>
  z.array(event).min(1).max(16).meta({ description: "All ends if missing" });

/** A job's own webhook, as it is submitted. */
export const jobWebhook = z
  .strictObject({
    url,
    events: eventsOf(jobWebhookEvent).optional(),
    secret: webhookSecret.optional().meta({
      description: "Signs this job's messages; the tenant's own secret if missing",
    }),
    payload: webhookPayload.optional(),
  })
  .meta({ id: "JobWebhook" });
export type JobWebhook = z.infer<typeof jobWebhook>;

/** The same as the ledger keeps it. `format` names the shape of its messages; our own if missing. */
export const keptWebhook = z.looseObject({
  url: z.string(),
  events: z.array(z.string()),
  secret: z.string().optional(),
  payload: webhookPayload.default("thin"),
  format: z.string().optional(),
});
export type KeptWebhook = z.infer<typeof keptWebhook>;

/** The webhook with what it has not said. */
export function keepWebhook({
  url: address,
  events,
  secret,
  payload = "thin",
}: JobWebhook): KeptWebhook {
  const wanted = events ?? defaultWebhookEvents;
  return { url: address, events: wanted, payload, ...(secret !== undefined && { secret }) };
}

export const endpointId = z.string().regex(/^whe_[0-9a-f]{32}$/, "not a webhook endpoint's id");

/** `dlv_<shard>_<32 hex digits>`; also the message's webhook-id, the same at every try. */
export const deliveryId = z
  .string()
  .regex(/^dlv_[a-z0-9]{1,16}_[0-9a-f]{32}$/, "not a delivery's id");

const description = z.string().max(512);

export const newEndpoint = z
  .strictObject({
    url,
    events: eventsOf(webhookEvent).optional(),
    payload: webhookPayload.optional(),
    description: description.optional(),
    secret: webhookSecret.optional().meta({ description: "Made if missing" }),
  })
  .meta({ id: "NewWebhookEndpoint" });
export type NewEndpoint = z.infer<typeof newEndpoint>;

export const endpointChange = z
  .strictObject({
    url: url.optional(),
    events: eventsOf(webhookEvent).optional(),
    payload: webhookPayload.optional(),
    description: description.optional(),
    state: z.enum(["enabled", "disabled"]).optional(),
  })
  .meta({ id: "WebhookEndpointChange" });
export type EndpointChange = z.infer<typeof endpointChange>;

const endpointShape = {
  id: endpointId,
  url: z.string(),
  events: z.array(z.string()),
  payload: webhookPayload,
  description: z.string(),
  state: z.enum(["enabled", "disabled"]),
  disabled_reason: z
    .enum(["asked", "gone", "failing"])
    .nullable()
    .meta({ description: "Asked for, the endpoint answered 410, or it has only failed for days" }),
  failing_since: timestamp.nullable().meta({ description: "Null when the last try succeeded" }),
  created_at: timestamp,
};

export const webhookEndpoint = z
  .object({ object: z.literal("webhook_endpoint"), ...endpointShape })
  .meta({ id: "WebhookEndpoint" });
export type WebhookEndpoint = z.infer<typeof webhookEndpoint>;

/** Shown when it is made and never again. */
export const endpointWithSecret = webhookEndpoint
  .extend({ secret: z.string().meta({ description: "Shown only now" }) })
  .meta({ id: "WebhookEndpointWithSecret" });

/** Secrets that sign just now: the first is the present one, others until their time (Unix ms). */
const secrets = z.array(z.looseObject({ secret: z.string(), until: z.number().nullable() })).min(1);

/** An endpoint as the ledger keeps it. */
export const keptEndpoint = z.looseObject({ ...endpointShape, secrets });
export type KeptEndpoint = z.infer<typeof keptEndpoint>;

export const keptSecrets = z.looseObject({ secrets });
export type KeptSecrets = z.infer<typeof keptSecrets>;

export const endpointList = z
  .object({ object: z.literal("list"), data: z.array(webhookEndpoint) })
  .meta({ id: "WebhookEndpointList" });

export const secretRotation = z
  .strictObject({
    secret: webhookSecret.optional(),
    overlap_s: z
      .int()
      .min(0)
      .max(7 * 86_400)
      .default(86_400)
      .meta({
        description: "How long messages are signed with the old secret as well",
      }),
  })
  .meta({ id: "SecretRotation" });

export const shownSecret = z.object({ secret: z.string() }).meta({ id: "WebhookSecret" });

export const deliveryState = z.enum(["pending", "delivered", "dead"]);
export type DeliveryState = z.infer<typeof deliveryState>;

/** Why a try failed before there was an answer, or the answer's status was not a success. */
export const deliveryTry = z
  .looseObject({
    at: timestamp,
    status: z.int().nullable().meta({ description: "Null when there was no answer" }),
    error: z.string().nullable().meta({ description: "Null when the try succeeded" }),
    latency_ms: z.number(),
    answer: z.string().meta({ description: "The answer's first characters" }),
  })
  .meta({ id: "DeliveryTry" });
export type DeliveryTry = z.infer<typeof deliveryTry>;

export const delivery = z
  .object({
    id: deliveryId,
    object: z.literal("webhook_delivery"),
    type: z.string().meta({ description: "The event's name, such as job.succeeded" }),
    job: jobId.nullable(),
    endpoint: endpointId.nullable().meta({ description: "Null for a job's own webhook" }),
    url: z.string(),
    state: deliveryState,
    reason: z.string().nullable().meta({ description: "Why it is dead" }),
    created_at: timestamp,
    next_try_at: timestamp.nullable(),
    tries: z.array(deliveryTry).meta({ description: "Oldest first; the last hundred" }),
  })
  .meta({ id: "WebhookDelivery" });
export type Delivery = z.infer<typeof delivery>;

export const deliveryQuery = z.strictObject({
  state: deliveryState.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().optional().meta({ description: "The next_cursor of the page before" }),
});

export const deliveryList = z
  .object({
    object: z.literal("list"),
    data: z.array(delivery).meta({ description: "Newest first" }),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: "WebhookDeliveryList" });
export type DeliveryList = z.infer<typeof deliveryList>;

const moment = z.iso.datetime({ offset: true });

/** Which of an endpoint's deliveries are to be sent again, by when they were made. */
export const replayRange = z
  .strictObject({
    since: moment,
    until: moment.optional(),
    state: deliveryState.exclude(["pending"]).default("dead"),
  })
  .meta({ id: "ReplayRange" });

export const replayed = z.object({ replayed: z.int() }).meta({ id: "Replayed" });

/** What is sent. `event` numbers it in its job's log: what comes out of order can be put in order. */
export const webhookMessage = z
  .looseObject({
    type: z.string(),
    timestamp,
    payload: webhookPayload,
    event: z.int().nullable(),
    data: z.looseObject({ id: z.string() }),
  })
  .meta({ id: "WebhookMessage" });
export type WebhookMessage = z.infer<typeof webhookMessage>;

/** The deliveries queue's payload. */
export const deliveryPayload = z.looseObject({ id: deliveryId });

const ofTenant = { tenant: tenantId };

/** Something that somebody is to be told of, as the ledger's steps leave it in the outbox. */
export const outboxEntry = z.union([
  /** A job has got so far; `event` is its event's number. Of a job that is gone by then there is what stands here. */
  z.looseObject({
    job: jobId,
    event: z.coerce.number().int().nonnegative(),
    state: z.string(),
    webhook: z.string().optional(),
    ...ofTenant,
  }),
  /** A piece of a job's answer: the events `from` to `to`. */
  z.looseObject({
    pieces_of: jobId,
    from: z.coerce.number().int().nonnegative(),
    to: z.coerce.number().int().nonnegative(),
    webhook: z.string().optional(),
    ...ofTenant,
  }),
  /** A delivery is to be sent, now. */
  z.looseObject({ delivery: deliveryId }),
  /** Anything else; `notice` names it and stays the same if it is announced twice, `data` is JSON. */
  z.looseObject({ notice: z.string().min(1), type: webhookEvent, data: z.string(), ...ofTenant }),
]);
export type OutboxEntry = z.infer<typeof outboxEntry>;
