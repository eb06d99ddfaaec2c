/** Where a queued job stands, and how long it will wait: as long as the jobs up to it take on all slots, at their latest pace. */
import type { Job, QueuePlace } from "@glimpse/contracts";
import type { Ledger, Queues } from "@glimpse/ledger";

type Pace = { slots: number; runMs: number | null };

/** The pace is read once for all jobs that are asked for within this time. */
const paceMs = 1_000;

/** The returned function resolves to null for a job that does not wait in the queue. */
export function createReadPlace({ ledger, queues }: { ledger: Ledger; queues: Queues }) {
  const paces = new Map<string, { pace: Promise<Pace>; until: number }>();

  return async function readPlace({ id, state, version }: Job): Promise<QueuePlace | null> {
    if (state !== "queued") return null;
    const [position, { slots, runMs }] = await Promise.all([
      queues.position({ id, version }),
      paceOf(version),
    ]);
    if (position === null) return null;
    const isKnown = runMs !== null && slots > 0;
    return { position, estimated_wait_ms: isKnown ? Math.round((position * runMs) / slots) : null };
  };

  function paceOf(version: string): Promise<Pace> {
    const known = paces.get(version);
    if (known !== undefined && performance.now() < known.until) return known.pace;
    const pace = readPace(version);
    paces.set(version, { pace, until: performance.now() + paceMs });
    pace.catch(() => paces.delete(version));
    return pace;
  }

  async function readPace(version: string): Promise<Pace> {
    const [workers, runMs] = await Promise.all([ledger.workers(), ledger.meanRunMs(version)]);
    const serving = workers.filter((worker) => worker.version === version);
    return { slots: serving.reduce((sum, { slots }) => sum + slots, 0), runMs };
  }
}
