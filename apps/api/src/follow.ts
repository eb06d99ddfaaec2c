/** A job's events, from the log and then as they happen: no gap, no repetition, however the two overlap. */
import type { Gap, Job, JobEvent } from "@glimpse/contracts";
import { endsLog, isTerminal, jobEvent } from "@glimpse/contracts";
import type { Keys, Ledger, Subscriber } from "@glimpse/ledger";

export type FollowDeps = { ledger: Ledger; subscriber: Subscriber; keys: Keys };

/** Nothing happened for a while; the log has been read again, in case an announcement was lost. */
export type Idle = { type: "idle" };

/** A reader this many events behind gets them from the log instead: what waits for slow readers is bounded. */
const maxInbox = 500;

/**
 * Yields the events after number `after` (-1: all) until the terminal one or the signal. `Gap` stands for events the log no
 * longer has; `Idle` comes every `idleMs` without an event. The job must exist.
 */
export async function* follow(
  { ledger, subscriber, keys }: FollowDeps,
  id: string,
  after: number,
  signal: AbortSignal,
  idleMs = 15_000,
): AsyncGenerator<JobEvent | Gap | Idle> {
  let inbox: string[] = [];
  let behind = true;
  let wake = () => {};
  // First listen, then read: what happens in between is in both, and dropped by its number.
  const stop = await subscriber.subscribe(keys.channel(id), (message) => {
    if (message === null || inbox.length === maxInbox) {
      inbox = [];
      behind = true;
    } else {
      inbox.push(message);
    }
    wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });
  let next = after + 1;
  try {
    while (!signal.aborted) {
      const fromLog = behind;
      behind = false;
      const events = fromLog ? await ledger.readLog(id, next - 1) : inbox.splice(0).map(parse);
      for (const event of events) {
        if (event.id < next) {
          // A reader that claims more than there was is told the end all the same.
          if (endsLog(event)) return;
          continue;
        }
        if (event.id > next) {
          if (!fromLog) {
            behind = true;
            break;
          }
          yield { type: "gap", from: next, to: event.id - 1 };
        }
        next = event.id + 1;
        yield event;
        if (endsLog(event)) return;
      }
      // The log comes in portions: after a portion there may be another.
      if (fromLog && events.length > 0) behind = true;
      if (behind || inbox.length > 0) continue;
      const woken = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), idleMs);
        wake = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
      if (!woken) {
        behind = true;
        yield { type: "idle" };
      }
    }
  } finally {
    stop();
  }
}

function parse(message: string): JobEvent {
  return jobEvent.parse(JSON.parse(message));
}

/** The job once it has ended, or as it is after `waitMs`. Null when the tenant has no such job. */
export async function waitForEnd(
  deps: FollowDeps,
  id: string,
  tenant: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<Job | null> {
  const job = await deps.ledger.read(id, tenant);
  if (job === null || isTerminal(job.state) || waitMs === 0) return job;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
  for await (const event of follow(deps, id, -1, limit)) {
    if (event.type !== "idle" && event.type !== "gap" && endsLog(event)) break;
  }
  return deps.ledger.read(id, tenant);
}
