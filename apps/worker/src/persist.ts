/** Writes for running jobs: they wait for a Redis that cannot serve just now, where others would be refused. */
import { setTimeout as sleep } from "node:timers/promises";
import { isRedisUnavailable } from "@glimpse/ledger";

const againMs = 500;

/** Repeats `write`, which must be safe to repeat, until Redis takes it or `signal` aborts; then rejects as `write` did. */
export async function persist<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (!isRedisUnavailable(error) || signal.aborted) throw error;
      await sleep(againMs, undefined, { signal }).catch(() => {});
    }
  }
}
