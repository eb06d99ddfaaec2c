/** From where a request comes, as far as that can be known. Who has forged it is found out nowhere else. */
import type { Context } from "hono";
import ipaddr from "ipaddr.js";
import type { AppEnv } from "../errors.ts";

/** The address that limits count by: of IPv6 the /64, since that is what one customer gets; "unknown" for what is none. */
export function addressGroup(text: string | undefined): string {
  if (text === undefined || !ipaddr.isValid(text)) return "unknown";
  const address = ipaddr.process(text); // an IPv4 address in IPv6's clothes is an IPv4 address
  if (address.kind() === "ipv4") return address.toString();
  const network = new ipaddr.IPv6([...address.toByteArray().slice(0, 8), 0, 0, 0, 0, 0, 0, 0, 0]);
  return `${network.toString()}/64`;
}

/**
 * The client of a request that has come through `proxies` proxies of ours. Each has added the address it was reached from to
 * X-Forwarded-For; what stands further to the left is the client's word, and counts nothing.
 */
export function createClientAddress(proxies: number) {
  return function clientAddress(c: Context<AppEnv>): string {
    const peer = c.env?.incoming?.socket.remoteAddress;
    const forwarded = proxies === 0 ? [] : (c.req.header("X-Forwarded-For")?.split(",") ?? []);
    const way = [...forwarded.map(withoutPort), peer];
    return addressGroup(way[Math.max(0, way.length - 1 - proxies)]);
  };
}

/** `1.2.3.4:5`, `[::1]:5` and `[::1]`, as some proxies write them. */
function withoutPort(text: string): string {
  const trimmed = text.trim();
  return /^\[([^\]]*)\]/.exec(trimmed)?.[1] ?? /^([\d.]+):\d+$/.exec(trimmed)?.[1] ?? trimmed;
}
