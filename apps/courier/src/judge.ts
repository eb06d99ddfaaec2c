/** What follows from a try. Pure. */
import type { TryVerdict } from "@glimpse/ledger";
import type { Sent } from "./send.ts";

/** `delaysMs`: before each try, the first included; then it is given up. `jitter`: by how much each may differ, as a share. */
export type Schedule = { delaysMs: readonly number[]; jitter: number };

const longestWaitMs = 24 * 3_600_000;

/** `before`: how many tries there were before this one. `random` is in [0, 1). */
export function judge(
  { tried, retryAfterMs }: Sent,
  before: number,
  { delaysMs, jitter }: Schedule,
  random = Math.random(),
): TryVerdict {
  if (tried.error === null) return { state: "delivered" };
  if (isGone(tried)) return { state: "dead", reason: "gone" };
  const delayMs = delaysMs[before + 1];
  if (delayMs === undefined) return { state: "dead", reason: "given_up" };
  const spread = delayMs * (1 + jitter * (2 * random - 1));
  // Who asks for time gets it, and not everybody comes back at its end.
  const asked = (retryAfterMs ?? 0) * (1 + jitter * random);
  return {
    state: "pending",
    delayMs: Math.min(longestWaitMs * (1 + jitter), Math.max(spread, asked)),
    reason: tried.error,
  };
}

/** The receiver has said that it will never want this or anything else. */
export function isGone({ status }: { status: number | null }): boolean {
  return status === 410;
}

/** Whether whoever answers so, or not at all, is in trouble; a refusal of one message (4xx) says nothing of others. */
export function isTrouble({ tried: { status, error } }: Sent): boolean {
  return error !== null && (status === null || status >= 500 || status === 429 || status === 408);
}

/** When a delivery that gets no chance to be tried is given up. */
export function longestMs({ delaysMs, jitter }: Schedule): number {
  const total = delaysMs.reduce((sum, delay) => sum + delay, 0);
  return 2 * total * (1 + jitter) + 3_600_000;
}
