/** Requests that wait for their jobs' ends. Knows HTTP only as far as that clients may go. */
import { randomBytes } from "node:crypto";
import type { Job } from "@glimpse/contracts";
import type { Context } from "hono";
import type { Accepted } from "./ended-job.ts";
import type { AppEnv } from "./errors.ts";
import type { FollowDeps } from "./follow.ts";
import { waitForEnd } from "./follow.ts";
import { createLeaving } from "./leaving.ts";
import { tenantOf } from "./tenant.ts";

export type Waiting = ReturnType<typeof createWaiting>;

export function createWaiting(deps: FollowDeps & { closing: AbortSignal }) {
  const { ledger, subscriber, keys } = deps;
  const leaving = createLeaving(deps.closing);
  const family = randomBytes(4).toString("hex");
  subscriber.subscribeFamily(keys.channel(`job_${ledger.shard}_${family}`));

  return {
    /** An id for a job that will be waited for here: its events come without a subscription of its own. */
    newId: () => ledger.newId(family),

    /**
     * The caller's job when it has ended, or when there is nobody any more who waits for that: the time is up, the client has gone,
     * this process stops. Null when there is no such job. `begin` may submit the job: it is called when the job's end would be
     * heard, and resolves to null if the job was there already.
     */
    async wait(
      c: Context<AppEnv>,
      id: string,
      waitMs: number,
      begin: () => Promise<Accepted | null> = async () => null,
    ): Promise<Job | null> {
      if (waitMs === 0) {
        await begin();
        return ledger.read(id, tenantOf(c));
      }
      const until = leaving.enter();
      const forget = whenGone(c, () => until.abort("gone"));
      try {
        return await waitForEnd(deps, id, tenantOf(c), waitMs, until.signal, begin);
      } finally {
        forget();
        leaving.leave(until);
      }
    },
  };
}

/** Asked of the server where there is one: the signal of a request is made when it is first asked for, and costs as much as the rest of a wait. */
function whenGone(c: Context<AppEnv>, listener: () => void): () => void {
  const env: AppEnv["Bindings"] | undefined = c.env;
  const outgoing = env?.outgoing;
  if (outgoing === undefined) {
    const { signal } = c.req.raw;
    if (signal.aborted) listener();
    signal.addEventListener("abort", listener);
    return () => signal.removeEventListener("abort", listener);
  }
  if (outgoing.destroyed) listener();
  outgoing.once("close", listener);
  return () => outgoing.off("close", listener);
}
