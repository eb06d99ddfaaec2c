/** Where a queued job stands, and how long it will wait: as long as the jobs up to it take on all slots, at their latest pace. */
import type { Job, QueuePlace } from "@glimpse/contracts";
import type { Queues } from "@glimpse/ledger";
import type { ReadPulse } from "./admission/pulse.ts";

/** The returned function resolves to null for a job that does not wait in the queue. */
export function createReadPlace(queues: Queues, readPulse: ReadPulse) {
  return async function readPlace({ id, state, version }: Job): Promise<QueuePlace | null> {
    if (state !== "queued") return null;
    const [position, { slots, runMs }] = await Promise.all([
      queues.position({ id, version }),
      readPulse(version),
    ]);
    if (position === null) return null;
    const isKnown = runMs !== null && slots > 0;
    return { position, estimated_wait_ms: isKnown ? Math.round((position * runMs) / slots) : null };
  };
}
