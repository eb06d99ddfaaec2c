/** The step that accepts a job. Knows what the ledger knows. */
import type {
  Asked,
  JobInput,
  KeptWebhook,
  Metadata,
  Priority,
  QueuePayload,
} from "@glimpse/contracts";
import { z } from "zod";
import { fingerprint, isDeterministic } from "./fingerprint.ts";
import { type Keys, keysOfEnd, newJobId, shardOf } from "./keys.ts";
import type { LedgerOptions } from "./ledger.ts";
import { jobOptions } from "./bullmq-steps.ts";
import type { RunScript } from "./scripts.ts";

export type NewJob = {
  tenant: string;
  model: string;
  version: string;
  input: JobInput;
  metadata: Metadata;
  /** What was sent for it; 0 if missing. */
  bytes?: number;
  /** An id that the client has chosen, in person or by an idempotency key, and the fingerprint of what it sent. */
  chosen?: { id: string; fingerprint: string };
  standing?: Standing;
  /** What the door that it comes through needs in order to answer. */
  asked?: Asked;
  /** Where somebody wants to be told of the job's events, which then get entries in the outbox. */
  webhook?: KeptWebhook;
};

/** How a job stands among others. */
export type Standing = {
  /** Among the tenant's own jobs; normal if missing. */
  priority?: Priority;
  /** From acceptance; none if missing. */
  deadlineMs?: number;
  /** The tenant's share against others' 1; from 1/64 to 16. */
  weight?: number;
  /** How many jobs that have not ended the tenant may have; any number if missing. */
  maxActive?: number;
  /** How many bytes all these jobs may have; any number if missing. */
  maxActiveBytes?: number;
  /** How many jobs may be before it in the queue; any number if missing. */
  maxAhead?: number;
};

/** A job's cost to its tenant of weight 1, see _fair.lua. */
const unitCost = 16;
const unlimited = Number.MAX_SAFE_INTEGER;
const entryOptions = JSON.stringify(jobOptions);

const outcomes = ["created", "joined", "answered", "existing", "conflict", "deleted"] as const;
const refusals = ["full", "heavy", "overloaded"] as const;
const submitted = z.tuple([z.enum([...outcomes, ...refusals]), z.int(), z.int()]);

/**
 * `created` is in the queue with the priority `place`; `joined` and `answered` need not be run; the others changed nothing. See
 * submit.lua. `place` of an `overloaded` one is how many jobs are before it.
 */
export type Submitted = {
  id: string;
  outcome: z.infer<typeof submitted>[0];
  place: number;
  /** Unix milliseconds by Redis's clock; 0 when there is no such job. */
  createdAtMs: number;
};

/** The returned function records a job and queues it in one step; or it finds that it need not be run. */
export function createSubmit(
  run: RunScript,
  keys: Keys,
  { shard, retentionS, resultCacheS = 0 }: LedgerOptions,
) {
  return async function submit(job: NewJob): Promise<Submitted> {
    const { tenant, model, version, input, metadata, chosen, standing = {}, asked, webhook } = job;
    const { bytes = 0 } = job;
    const { priority = "normal", deadlineMs = 0, weight = 1 } = standing;
    const id = chosen?.id ?? newJobId(shard);
    const cost = Math.max(1, Math.round(unitCost / weight));
    const fields = {
      model,
      input: JSON.stringify(input),
      metadata: JSON.stringify(metadata),
      ...(asked !== undefined && { asked: JSON.stringify(asked) }),
      ...(webhook !== undefined && {
        webhook: JSON.stringify(webhook),
        tells: webhook.events.join(" "),
      }),
    };
    const holders = picturesOf(input).map((digest) => keys.blobHolders(shardOf(id), digest));
    const settings = [chosen?.fingerprint ?? "", sameKey(job), resultCacheS];
    const { maxActive = unlimited, maxActiveBytes = unlimited, maxAhead = unlimited } = standing;
    const limits = [deadlineMs, maxActive, bytes, maxActiveBytes, maxAhead];
    const turn = [version, priority, cost];
    const entry = [JSON.stringify({ id, version } satisfies QueuePayload), entryOptions];
    const args = [tenant, ...settings, holders.join(" "), ...limits, ...turn, ...entry];
    const reply = await run(
      "submit",
      [
        ...keysOfEnd(keys, id),
        keys.tenantIndex(shardOf(id), tenant),
        keys.queueOf(shardOf(id), version),
      ],
      [id, keys.channel(id), retentionS, ...args, ...Object.entries(fields).flat()],
    );
    const [outcome, place, createdAtMs] = submitted.parse(reply);
    return { id, outcome, place, createdAtMs };
  };

  /** The key that identical jobs of a tenant share, or nothing when an answer may differ each time. */
  function sameKey({ tenant, version, input }: NewJob): string {
    if (resultCacheS === 0 || !isDeterministic(input.options)) return "";
    return keys.same(shard, fingerprint([tenant, version, input]));
  }
}

/** Digests of an input's pictures, each once. */
function picturesOf({ messages }: JobInput): string[] {
  const parts = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content));
  return [...new Set(parts.flatMap((part) => (part.type === "image" ? [part.digest] : [])))];
}
