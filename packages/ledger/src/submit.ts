/** The step that accepts a job. Knows what the ledger knows. */
import type { JobInput, Metadata, Priority } from "@glimpse/contracts";
import { z } from "zod";
import { fingerprint, isDeterministic } from "./fingerprint.ts";
import { type Keys, keysOfEnd, newJobId, shardOf } from "./keys.ts";
import type { LedgerOptions } from "./ledger.ts";
import type { RunScript } from "./scripts.ts";

export type NewJob = {
  tenant: string;
  model: string;
  version: string;
  input: JobInput;
  metadata: Metadata;
  /** An id that the client has chosen, in person or by an idempotency key, and the fingerprint of what it sent. */
  chosen?: { id: string; fingerprint: string };
  standing?: Standing;
  /** Where somebody wants to be told of the job's end, which then gets an entry in the outbox. */
  webhook?: string;
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
};

/** A job's cost to its tenant of weight 1, see _fair.lua. */
const unitCost = 16;

const submitted = z.tuple([
  z.enum(["created", "joined", "answered", "existing", "conflict", "full", "deleted"]),
  z.int(),
]);
/** `created` is to be enqueued with `place`; `joined` and `answered` need not be run; the others changed nothing. See submit.lua. */
export type Submitted = { id: string; outcome: z.infer<typeof submitted>[0]; place: number };

/** The returned function records a job as queued, with a pending mark until `clearPending`; or it finds that it need not be run. */
export function createSubmit(
  run: RunScript,
  keys: Keys,
  { shard, retentionS, resultCacheS = 0 }: LedgerOptions,
) {
  return async function submit(job: NewJob): Promise<Submitted> {
    const { tenant, model, version, input, metadata, chosen, standing = {}, webhook } = job;
    const { priority = "normal", deadlineMs = 0, weight = 1 } = standing;
    const id = chosen?.id ?? newJobId(shard);
    const cost = Math.max(1, Math.round(unitCost / weight));
    const fields = {
      model,
      input: JSON.stringify(input),
      metadata: JSON.stringify(metadata),
      ...(webhook !== undefined && { webhook }),
    };
    const holders = picturesOf(input).map((digest) => keys.blobHolders(shardOf(id), digest));
    const settings = [chosen?.fingerprint ?? "", sameKey(job), resultCacheS];
    const limits = [deadlineMs, standing.maxActive ?? Number.MAX_SAFE_INTEGER];
    const turn = [version, priority, cost];
    const args = [tenant, ...settings, holders.join(" "), ...limits, ...turn];
    const reply = await run(
      "submit",
      [...keysOfEnd(keys, id), keys.tenantIndex(shardOf(id), tenant)],
      [id, keys.channel(id), retentionS, ...args, ...Object.entries(fields).flat()],
    );
    const [outcome, place] = submitted.parse(reply);
    return { id, outcome, place };
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
