import { deadlineExceeded } from "./errors.ts";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * What `work` gives, unless the signal aborts or the deadline passes first; `work` itself goes on.
 * @param deadline on performance.now()'s clock
 * @throws the signal's reason, or EngineError `deadline_exceeded`
 */
export async function withinTime<T>(
  work: Promise<T>,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal?.reason);
  signal?.addEventListener("abort", abort);
  const left = Math.max(0, deadline - performance.now());
  const timer = left < LONGEST_TIMER_MS ? setTimeout(reject, left, deadlineExceeded()) : undefined;
  try {
    return await Promise.race([work, cut]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
