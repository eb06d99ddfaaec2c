/** What a request has to get past besides authentication: how often its sender asks, and how much at once. */
import type { Context, MiddlewareHandler } from "hono";
import { ApiError } from "../api-error.ts";
import { readBody } from "../body.ts";
import type { AppEnv } from "../errors.ts";
import { addressGroup, readClientAddress } from "./client-address.ts";
import type { OpenLimiter } from "./rate-limit.ts";
import { rateLimit } from "./rate-limit.ts";
import type { GatewaySettings } from "./settings.ts";
import type { Outcome } from "./tally.ts";
import { createTally } from "./tally.ts";

export type Gates = {
  /** Finds out where a request comes from: before all others. */
  address: MiddlewareHandler<AppEnv>;
  /** Before authentication, so that guessing is limited, too. */
  byAddress: MiddlewareHandler<AppEnv> | null;
  /** After it. */
  byKey: MiddlewareHandler<AppEnv> | null;
  /** Counts every answer that is a stream of events, which is said where they are made. */
  streams: MiddlewareHandler<AppEnv>;
  /** Reads a body of up to `maxBytes` and hands it to `use`; until that is done, its bytes count as in flight. */
  withBody<T>(
    c: Context<AppEnv>,
    maxBytes: number,
    use: (body: Uint8Array<ArrayBuffer>) => Promise<T>,
  ): Promise<T>;
  /** What this process holds just now. */
  held(): { bytes: number; streams: number };
};

export function createGates(settings: GatewaySettings, open: OpenLimiter): Gates {
  const { perAddress, perKey, streamsPerKey, bytesInFlight, bytesInFlightPerKey } = settings;
  const ofAddress = (c: Context<AppEnv>) => addressGroup(c.get("address"));
  const bytes = createTally({ most: bytesInFlight, mostEach: bytesInFlightPerKey });
  const openStreams = createTally({ most: Number.MAX_SAFE_INTEGER, mostEach: streamsPerKey });
  /** A key, or the tenant of whoever has proved it otherwise; null for everybody else. */
  const caller = (c: Context<AppEnv>): string | null => {
    const { key, tenant } = c.get("caller");
    return settings.hasKeys && tenant !== "" ? (key ?? tenant) : null;
  };
  const holder = (c: Context<AppEnv>) => caller(c) ?? ofAddress(c);

  return {
    address: readClientAddress(settings.trustedProxies),
    byAddress: rateLimit("ip", perAddress, open, ofAddress),
    byKey: rateLimit("key", perKey, open, caller),

    async streams(c, next) {
      await next();
      if (c.get("isEventStream") !== true) return;
      const hold = openStreams.hold(holder(c));
      if (hold.add(1) !== "held") {
        await c.res.body?.cancel();
        const message = `There are ${streamsPerKey} open streams already. Close some of them.`;
        throw new ApiError("too_many_streams", message);
      }
      // Whatever becomes of the stream, its answer closes. Without a server there is none to wait for.
      const outgoing = c.env?.outgoing;
      if (outgoing === undefined || outgoing.closed) hold.release();
      else outgoing.once("close", () => hold.release());
    },

    async withBody(c, maxBytes, use) {
      const declared = Number(c.req.header("Content-Length") ?? 0);
      throwUnless(declared > maxBytes ? "held" : bytes.fits(holder(c), declared));
      const hold = bytes.hold(holder(c));
      try {
        // What has arrived counts, not what is announced: a body that is only promised keeps nobody else out.
        const body = await readBody(c.req.raw, maxBytes, (count) => throwUnless(hold.add(count)));
        return await use(body);
      } finally {
        hold.release();
      }
    },

    held: () => ({ bytes: bytes.total(), streams: openStreams.total() }),
  };
}

function throwUnless(outcome: Outcome): void {
  if (outcome === "own") {
    throw new ApiError(
      "too_many_bytes",
      "You are sending too much at once. Send less in parallel.",
    );
  }
  if (outcome === "all") {
    throw new ApiError("overloaded", "Too much is being received just now. Try again.");
  }
}
