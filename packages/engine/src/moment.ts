/** Times that threads share: performance.now() counts from each thread's own start, the system's monotonic clock does not. */
import type { Clock } from "./intake.ts";

function shifted(clock: Clock, ms: number): Clock {
  return { ...clock, startedAt: clock.startedAt + ms, deadline: clock.deadline + ms };
}

/** From performance.now() here to the monotonic clock. */
function offset(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now();
}

export const moment = {
  toShared: (clock: Clock): Clock => shifted(clock, offset()),
  fromShared: (clock: Clock): Clock => shifted(clock, -offset()),
};
