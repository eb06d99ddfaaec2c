/** The limits' part of the environment: who may ask how much. A rate of 0 is no limit. */
import { count } from "@glimpse/contracts";
import { z } from "zod";
import type { AdmissionSettings } from "../admission/admission.ts";

const rate = z.coerce.number().int().min(0);

export const limitsEnvironment = z.object({
  /** How many proxies stand before the API, each of which adds to X-Forwarded-For; 0 believes that header nothing. */
  TRUSTED_PROXIES: z.coerce.number().int().min(0).max(8).default(0),
  /** Requests a second from an address (IPv6: a /64) that change something, and that only read. By default 10 and 50, and none on loopback without a proxy. */
  RATE_PER_IP: rate.optional(),
  RATE_READS_PER_IP: rate.optional(),
  /** The same for a key, whatever its addresses. By default 50 and 200 where there are keys. */
  RATE_PER_KEY: rate.optional(),
  RATE_READS_PER_KEY: rate.optional(),
  /** Connections from an address; not limited on loopback or behind a proxy, whose connections they are. */
  MAX_CONNECTIONS_PER_IP: count(200),
  /** Open event streams of a key, or of an address without one, on each process. By default 500, and any number where all have one address and no key. */
  MAX_STREAMS_PER_KEY: z.coerce.number().int().positive().optional(),
  /** Bodies that are being received or worked on in this process, and the part of that which one key or address may have. */
  MAX_BYTES_IN_FLIGHT: count(512 * 1024 * 1024),
  MAX_BYTES_IN_FLIGHT_PER_KEY: count(128 * 1024 * 1024),
  /** How long a job may have to wait for its turn, whatever its deadline; more are refused. */
  MAX_WAIT_MS: count(3_600_000),
  /** New jobs are refused once more than this share of the last BREAKER_RUNS runs broke the engine or a worker. */
  BREAKER_SHARE: z.coerce.number().gt(0).lt(1).default(0.5),
  BREAKER_RUNS: z.coerce.number().int().min(2).max(1_000).default(20),
  /** How long until jobs are tried again. */
  BREAKER_OPEN_MS: count(10_000),
  /** How long there may be no worker, as while one is exchanged for another, before new jobs are refused. */
  NO_WORKER_GRACE_MS: count(60_000),
});

export type Rates = { writes: number; reads: number };

export type GatewaySettings = {
  /** Whether callers are told apart by their credentials. */
  hasKeys: boolean;
  trustedProxies: number;
  perAddress: Rates;
  perKey: Rates;
  /** Null: not limited. */
  connectionsPerAddress: number | null;
  streamsPerKey: number;
  bytesInFlight: number;
  bytesInFlightPerKey: number;
};

/** `isPrivate`: only this machine can reach the API, so that all who ask have one address. */
export function gatewaySettings(
  parsed: z.infer<typeof limitsEnvironment>,
  { isPrivate, hasKeys }: { isPrivate: boolean; hasKeys: boolean },
): GatewaySettings {
  const trustedProxies = parsed.TRUSTED_PROXIES;
  const toldApart = !isPrivate || trustedProxies > 0;
  return {
    hasKeys,
    trustedProxies,
    perAddress: {
      writes: parsed.RATE_PER_IP ?? (toldApart ? 10 : 0),
      reads: parsed.RATE_READS_PER_IP ?? (toldApart ? 50 : 0),
    },
    perKey: {
      writes: parsed.RATE_PER_KEY ?? (hasKeys ? 50 : 0),
      reads: parsed.RATE_READS_PER_KEY ?? (hasKeys ? 200 : 0),
    },
    connectionsPerAddress: isPrivate || trustedProxies > 0 ? null : parsed.MAX_CONNECTIONS_PER_IP,
    streamsPerKey:
      parsed.MAX_STREAMS_PER_KEY ?? (toldApart || hasKeys ? 500 : Number.MAX_SAFE_INTEGER),
    bytesInFlight: parsed.MAX_BYTES_IN_FLIGHT,
    bytesInFlightPerKey: parsed.MAX_BYTES_IN_FLIGHT_PER_KEY,
  };
}

export function admissionSettings(parsed: z.infer<typeof limitsEnvironment>): AdmissionSettings {
  return {
    maxWaitMs: parsed.MAX_WAIT_MS,
    brokenShare: parsed.BREAKER_SHARE,
    sample: parsed.BREAKER_RUNS,
    openMs: parsed.BREAKER_OPEN_MS,
    unservedGraceMs: parsed.NO_WORKER_GRACE_MS,
  };
}
