/** How late this process's event loop is: timers that should fire every 10 ms, and when they did. */
import { monitorEventLoopDelay } from "node:perf_hooks";

export type LoopDelay = { p50: number; p99: number; max: number };

const resolutionMs = 10;

/** Measures from now on, in windows of `windowMs`. */
export function watchLoopDelay(windowMs = 10_000) {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  let last: LoopDelay | undefined;

  // The histogram holds the whole time between two ticks, in nanoseconds; tenths of a millisecond are enough.
  const late = (ns: number) => Math.max(0, Math.round((ns / 1e6 - resolutionMs) * 10) / 10);
  const read = (): LoopDelay => ({
    p50: late(histogram.percentile(50)),
    p99: late(histogram.percentile(99)),
    max: late(histogram.max),
  });
  const timer = setInterval(() => {
    last = read();
    histogram.reset();
  }, windowMs);
  timer.unref();

  return {
    /** Milliseconds of delay over the last full window; over the time so far in the first one. */
    read: (): LoopDelay => last ?? read(),
    stop(): void {
      clearInterval(timer);
      histogram.disable();
    },
  };
}
