/**
 * Finds what somebody left undone who died in between, and has it done. Each sweep returns how much it found; all can run
 * in several couriers at once. Knows the ledger and the queue's front; never the model.
 */
import type { Ledger, Queues, Unended, Upkeep } from "@glimpse/ledger";

export type SweepDeps = { shard: string; ledger: Ledger; queues: Queues; upkeep: Upkeep };

export type Sweeps = ReturnType<typeof createSweeps>;

const page = 200;

/** How far priorities may go before they are counted anew: half of BullMQ's range. */
const rebaseAfter = 1_048_576;

export function createSweeps({ shard, ledger, queues, upkeep }: SweepDeps) {
  /** What the last sweep found without a holder, and how it was then. */
  let suspected = new Map<string, string>();

  return {
    /** Enqueues jobs that were recorded but not enqueued; those that are in the queue are only looked at, once. */
    async pending(olderThanMs = 2_000): Promise<number> {
      return inPages(
        () => upkeep.pending(olderThanMs, page),
        async (id) => {
          const place = await upkeep.place(id);
          const isMissing = place !== null && !(await queues.holds({ id, ...place }));
          if (isMissing) await queues.enqueue({ id, version: place.version }, place.priority);
          await ledger.clearPending(id);
          return isMissing;
        },
      );
    },

    /** Ends jobs whose deadline has passed. */
    async deadlines(): Promise<number> {
      return inPages(
        () => upkeep.due(page),
        async (id) => {
          const expired = await ledger.expire(id);
          const place = expired ? await upkeep.place(id) : null;
          // One that a worker holds stays there until the worker has stopped it.
          if (place !== null) await queues.remove({ id, version: place.version });
          return expired;
        },
      );
    },

    /**
     * Has jobs enqueued again that are to be run and that the queue does not hold, now and at the last sweep: in between,
     * whoever is about to enqueue or to end them has done so.
     */
    async orphans(): Promise<number> {
      const found = new Map<string, string>();
      let requeued = 0;
      let after = "";
      for (;;) {
        const jobs = await upkeep.unended(after, page);
        const orphans = await Promise.all(jobs.map(isOrphan));
        for (const job of jobs.filter((_, i) => orphans[i])) {
          const now = `${job.state}-${job.attempt}-${job.leader}`;
          if (suspected.get(job.id) !== now) {
            found.set(job.id, now);
            continue;
          }
          // BullMQ may still have it among those it has given up, and would not add it again.
          await queues.remove(job);
          if (await upkeep.requeue(job.id, job.attempt)) requeued++;
        }
        const last = jobs.at(-1);
        if (last === undefined) break;
        after = last.entry;
      }
      suspected = found;
      return requeued;
    },

    /** Keeps priorities within BullMQ's range. */
    async turns(limit = rebaseAfter): Promise<number> {
      let changed = 0;
      const workers = await ledger.workers();
      for (const version of new Set(workers.map((worker) => worker.version))) {
        const { base, settled } = await upkeep.rebase(version, limit);
        if (settled) continue;
        const queue = { shard, version };
        const moved = await queues.reprioritize(
          queue,
          async (id) => (await upkeep.place(id))?.priority ?? null,
        );
        changed += moved;
        // Whoever was about to enqueue with an old priority is seen by the pass that finds nothing.
        if (moved === 0) await upkeep.settle(version, base);
      }
      return changed;
    },
  };

  /** Does what there is to do now, page by page and each page at once. Returns how often something was done. */
  async function inPages(
    next: () => Promise<string[]>,
    act: (id: string) => Promise<boolean>,
  ): Promise<number> {
    let count = 0;
    for (;;) {
      const ids = await next();
      const done = await Promise.all(ids.map(act));
      count += done.filter(Boolean).length;
      if (ids.length < page) return count;
    }
  }

  async function isOrphan(job: Unended): Promise<boolean> {
    if (job.state === null) {
      await upkeep.forget(job);
      return false;
    }
    if (job.state !== "queued" && job.state !== "running") return false;
    if (job.leader !== null && (await upkeep.isUnended(job.leader))) return false;
    return !(await queues.holds(job));
  }
}
