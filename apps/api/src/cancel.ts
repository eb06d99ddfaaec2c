/** The end of a job that nobody wants any more. */
import type { Ledger, Queues } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";

export type CancelDeps = { ledger: Ledger; queues: Queues; log: Logger };

/** The returned function resolves to the job, which may have ended otherwise before; null when the tenant has no such job. */
export function createCancel({ ledger, queues, log }: CancelDeps) {
  return async function cancel(id: string, tenant: string) {
    if (!(await ledger.cancel(id, tenant))) return null;
    const job = await ledger.read(id, tenant);
    // If it stays in the queue, the worker that takes it sees that it has ended.
    if (job !== null) {
      await queues
        .remove({ id, version: job.version })
        .catch((error: unknown) => log.warn({ error, job: id }, "not removed from the queue"));
    }
    return job;
  };
}
