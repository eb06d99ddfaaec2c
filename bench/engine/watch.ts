/** What a measurement does to its process: how late the event loop is, how much memory is resident. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { round } from "./measure.ts";

/** ms; the histogram holds the whole time between two ticks, in nanoseconds. */
const RESOLUTION = 10;

export type Watched = {
  /** 99th percentile of the event loop's delay, over the whole time. */
  loopP99Ms: number;
  /** The most that was resident, sampled at every tick. */
  residentMb: number;
};

/** Watches until the returned function is called. */
export function watchProcess(): () => Watched {
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION });
  let most = 0;
  const look = () => (most = Math.max(most, process.memoryUsage.rss()));
  const timer = setInterval(look, 100);
  loop.enable();
  return () => {
    look();
    clearInterval(timer);
    loop.disable();
    const late = Math.max(0, loop.percentile(99) / 1e6 - RESOLUTION);
    return { loopP99Ms: round(late, 1), residentMb: round(most / 2 ** 20, 0) };
  };
}
