/** A job's events, from the log and then as they happen: no gap, no repetition, however the two overlap. */
import type { Gap, Job, LogEvent } from "@glimpse/contracts";
import { endsLog, isTerminal } from "@glimpse/contracts";
import type { Accepted } from "./ended-job.ts";
import { endedJob } from "./ended-job.ts";
import type { Keys, Ledger, Subscriber } from "@glimpse/ledger";
import { isRedisUnavailable, parseEvent, typeOfEvent } from "@glimpse/ledger";

export type FollowDeps = { ledger: Ledger; subscriber: Subscriber; keys: Keys };

/** Nothing happened for a while. */
export type Idle = { type: "idle" };

/** What a reader of a log gets. No event of the log is called `gap` or `idle`. */
export type Followed = LogEvent | Gap | Idle;

export function isGap(followed: Followed): followed is Gap {
  return followed.type === "gap";
}

export function isIdle(followed: Followed): followed is Idle {
  return followed.type === "idle";
}

/** A reader that has this much waiting gets it from the log instead, by portions: what is kept for slow readers is bounded. */
const maxInboxChars = 64 * 1024;
const portion = 100;

/** An announcement of the end may have been lost: whoever waits for it looks again after so long. */
const recheckMs = 15_000;

/** How long to wait before the log is read again when Redis did not answer. */
const retryMs = 1_000;

/**
 * Yields the events after number `after` (-1: all), as many at a time as there are, until the terminal one, the signal or the
 * job's removal. `Gap` stands for events that the log no longer has; `Idle` comes at most `idleMs` after the last event.
 * An outage of Redis is waited out, but rejects at the beginning. The job must exist.
 */
export async function* follow(
  { ledger, subscriber, keys }: FollowDeps,
  id: string,
  after: number,
  signal: AbortSignal,
  idleMs = 15_000,
): AsyncGenerator<Followed[]> {
  let inbox: string[] = [];
  let inboxChars = 0;
  let behind = true;
  const bell = createBell(signal);
  // First listen, then read: what happens in between is in both, and dropped by its number.
  const stop = await subscriber.subscribe(keys.channel(id), (message) => {
    if (message === null || inboxChars + message.length > maxInboxChars) {
      takeInbox();
      behind = true;
    } else {
      inbox.push(message);
      inboxChars += message.length;
    }
    bell.ring();
  });
  function takeInbox(): string[] {
    const taken = inbox;
    inbox = [];
    inboxChars = 0;
    return taken;
  }

  let next = after + 1;
  try {
    while (!signal.aborted) {
      const fromLog = behind;
      behind = false;
      const events = fromLog
        ? await unlessUnavailable(ledger.readLog(id, next - 1, portion))
        : takeInbox().map(parseEvent);
      if (events === null) {
        behind = true;
        await bell.wait(retryMs);
        continue;
      }
      const fresh: Followed[] = [];
      let isMissing = false;
      for (const event of events) {
        if (event.id < next) continue;
        if (event.id > next) {
          isMissing = !fromLog;
          if (isMissing) break;
          fresh.push({ type: "gap", from: next, to: event.id - 1 });
        }
        fresh.push(event);
        next = event.id + 1;
      }
      if (fresh.length > 0) yield fresh;
      // A reader that claims more than there was gets nothing, but is told the end all the same.
      if (!isMissing && events.some(endsLog)) return;
      if (isMissing || (fromLog && events.length === portion)) behind = true;
      if (behind || inbox.length > 0) continue;
      // Readers that came together need not be idle together.
      if (await bell.wait(idleMs * (0.7 + 0.3 * Math.random()))) continue;
      // An announcement may have been lost, or the job removed.
      const length = await unlessUnavailable(ledger.logLength(id));
      if (length === 0) return;
      behind = length !== null && length > next;
      yield [{ type: "idle" }];
    }
  } finally {
    stop();
    bell.close();
  }
}

/**
 * The job once it has ended, or as it is after `waitMs` or at the signal. Null when the tenant has no such job.
 * `begin` is called when its events are heard; if it accepts a new job, its end has not been missed, and tells all of it.
 */
export async function waitForEnd(
  { ledger, subscriber, keys }: FollowDeps,
  id: string,
  tenant: string,
  waitMs: number,
  signal: AbortSignal,
  begin: () => Promise<Accepted | null> = async () => null,
): Promise<Job | null> {
  const bell = createBell(signal);
  let last: string | undefined;
  const stop = await subscriber.subscribe(keys.channel(id), (message) => {
    if (message === null) return bell.ring();
    if (!endsLog({ type: typeOfEvent(message) })) return;
    last = message;
    bell.ring();
  });
  try {
    const accepted = await begin();
    const until = performance.now() + waitMs;
    if (accepted !== null) {
      await bell.wait(Math.min(waitMs, recheckMs));
      const job = last === undefined ? null : endedJob(accepted, last);
      if (job) return job;
    }
    for (;;) {
      const job = await ledger.read(id, tenant);
      const leftMs = until - performance.now();
      if (job === null || isTerminal(job.state) || leftMs <= 0 || signal.aborted) return job;
      await bell.wait(Math.min(leftMs, recheckMs));
    }
  } finally {
    stop();
    bell.close();
  }
}

/** One waits until another rings, the signal is aborted or the time is up; a ring before the wait ends it at once. */
function createBell(signal: AbortSignal) {
  let rung = false;
  let wake: (() => void) | undefined;
  function ring(): void {
    rung = true;
    wake?.();
  }
  signal.addEventListener("abort", ring);
  return {
    ring,
    /** Whether it was rung. */
    async wait(ms: number): Promise<boolean> {
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      const wasRung = rung;
      rung = signal.aborted;
      return wasRung;
    },
    close: () => signal.removeEventListener("abort", ring),
  };
}

/** What was asked for, or null when Redis does not answer just now. */
async function unlessUnavailable<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (!isRedisUnavailable(error)) throw error;
    return null;
  }
}
