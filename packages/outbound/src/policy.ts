/** Where strangers may send us, as data: it goes between threads. */
import type { OutboundEnvironment } from "@glimpse/contracts";

export type OutboundPolicy = {
  /** Such as `https:`. */
  protocols: readonly string[];
  ports: readonly number[] | "any";
  /**
   * What is let through although it is not on the public internet: addresses, CIDR ranges, names, and names below a
   * domain (`.example.internal`). Their protocols and ports are judged like all others'.
   */
  allow: readonly string[];
  /** Name servers to ask, as `address` or `address:port`; the machine's own if there are none. */
  nameServers?: readonly string[];
  /** For tests: all addresses of a name, none when it is not known. */
  resolve?: (hostname: string, signal: AbortSignal) => Promise<string[]>;
};

/** The policy that the environment asks for; see `outboundEnvironment`. */
export function policyFrom(env: OutboundEnvironment): OutboundPolicy {
  return {
    protocols: env.OUTBOUND_HTTP ? ["https:", "http:"] : ["https:"],
    ports: env.OUTBOUND_PORTS,
    allow: env.OUTBOUND_ALLOW,
    nameServers: env.OUTBOUND_DNS,
  };
}
