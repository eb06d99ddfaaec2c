/**
 * Keeps receivers from delaying each other: each has a lane with few places and a breaker of its own, and all lanes to one
 * host together have not many places either. Who finds no place is told so at once and comes again. One process's view.
 */
import {
  BrokenCircuitError,
  BulkheadRejectedError,
  bulkhead,
  CircuitState,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleWhenResult,
} from "cockatiel";
import { isTrouble } from "./judge.ts";
import type { Send, Sent } from "./send.ts";

export type LaneLimits = {
  perLane: number;
  perHost: number;
  /** After how many tries in trouble, one after the other, a lane is closed, for how long at first and at most. */
  troubles: number;
  closedMs: number;
  maxClosedMs: number;
};

export type Lanes = ReturnType<typeof createLanes>;

/** Lanes beyond this are forgotten, the longest unused first. */
const maxLanes = 10_000;

export function createLanes(send: Send, limits: LaneLimits) {
  const lanes = new Map<string, ReturnType<typeof openLane>>();
  const hosts = new Map<string, number>();

  function openLane() {
    const places = bulkhead(limits.perLane, limits.perLane);
    const breaker = circuitBreaker(
      handleWhenResult((sent) => isTrouble(sent as Sent)),
      {
        halfOpenAfter: new ExponentialBackoff({
          initialDelay: limits.closedMs,
          maxDelay: limits.maxClosedMs,
        }),
        breaker: new ConsecutiveBreaker(limits.troubles),
      },
    );
    return { places, breaker };
  }

  function laneOf(name: string) {
    const lane = lanes.get(name) ?? openLane();
    lanes.delete(name);
    lanes.set(name, lane);
    const [oldest] = lanes.keys();
    if (lanes.size > maxLanes && oldest !== undefined) lanes.delete(oldest);
    return lane;
  }

  async function sendTo(host: string, message: Parameters<Send>[0]): Promise<Sent> {
    hosts.set(host, (hosts.get(host) ?? 0) + 1);
    try {
      return await send(message);
    } finally {
      const left = (hosts.get(host) ?? 1) - 1;
      if (left === 0) hosts.delete(host);
      else hosts.set(host, left);
    }
  }

  /** Sends in the lane of this name. Null: not now. */
  return async function sendInLane(
    name: string,
    message: Parameters<Send>[0],
  ): Promise<Sent | null> {
    const { places, breaker } = laneOf(name);
    const host = URL.parse(message.url)?.host ?? "";
    try {
      return await places.execute(() => {
        // While one try finds out how the receiver is, others would wait for it.
        if (breaker.state === CircuitState.HalfOpen) throw new BrokenCircuitError();
        if ((hosts.get(host) ?? 0) >= limits.perHost)
          throw new BulkheadRejectedError(limits.perHost, 0);
        return breaker.execute(() => sendTo(host, message));
      });
    } catch (error) {
      if (error instanceof BrokenCircuitError || error instanceof BulkheadRejectedError)
        return null;
      throw error;
    }
  };
}
