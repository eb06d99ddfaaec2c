/** A request that waits for its job's end. Knows HTTP only as far as that its client may go. */
import type { Job } from "@glimpse/contracts";
import type { Context } from "hono";
import type { AppEnv } from "./errors.ts";
import type { FollowDeps } from "./follow.ts";
import { waitForEnd } from "./follow.ts";
import { createLeaving } from "./leaving.ts";
import { tenantOf } from "./tenant.ts";

/**
 * The returned function resolves to the caller's job when it has ended, or when there is nobody any more who waits for that: the
 * time is up, the client has gone, this process stops. Null when there is no such job. `begin` may submit the job: it is called
 * when the job's end would be heard, and resolves to whether the job is new.
 */
export function createWait(deps: FollowDeps & { closing: AbortSignal }) {
  const leaving = createLeaving(deps.closing);

  return async function wait(
    c: Context<AppEnv>,
    id: string,
    waitMs: number,
    begin: () => Promise<boolean> = async () => false,
  ): Promise<Job | null> {
    if (waitMs === 0) {
      await begin();
      return deps.ledger.read(id, tenantOf(c));
    }
    const until = leaving.enter();
    const gone = c.req.raw.signal;
    if (gone.aborted) until.abort("gone");
    gone.addEventListener("abort", () => until.abort("gone"));
    try {
      return await waitForEnd(deps, id, tenantOf(c), waitMs, until.signal, begin);
    } finally {
      leaving.leave(until);
    }
  };
}
