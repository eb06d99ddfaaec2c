/** From where a request comes, as far as that can be known. Who has forged it is found out nowhere else. */
import { isIPv4 } from "node:net";
import type { MiddlewareHandler } from "hono";
import ipaddr from "ipaddr.js";
import type { AppEnv } from "../errors.ts";

/**
 * Sets `address`: the client of a request that has come through `proxies` proxies of ours. Each has added the address it was
 * reached from to X-Forwarded-For; what stands further to the left is the client's word, and counts nothing.
 */
export function readClientAddress(proxies: number): MiddlewareHandler<AppEnv> {
  return function clientAddress(c, next) {
    const peer = c.env?.incoming?.socket.remoteAddress;
    const forwarded = proxies === 0 ? [] : (c.req.header("X-Forwarded-For")?.split(",") ?? []);
    const way = [...forwarded.map(withoutPort), peer];
    c.set("address", canonical(way[Math.max(0, way.length - 1 - proxies)]));
    return next();
  };
}

/** What limits count by: of IPv6 the /64, since that is what one customer gets. Null and all that is no address are one. */
export function addressGroup(text: string | null | undefined): string {
  const address = canonical(text);
  if (address === null || !address.includes(":")) return address ?? "unknown";
  const network = ipaddr.parse(address).toByteArray().slice(0, 8);
  return `${ipaddr.fromByteArray([...network, 0, 0, 0, 0, 0, 0, 0, 0]).toString()}/64`;
}

/** An IPv4 address in IPv6's clothes is an IPv4 address. */
function canonical(text: string | null | undefined): string | null {
  if (text != null && isIPv4(text)) return text; // this needs no parsing: it is written in one way only
  return text != null && ipaddr.isValid(text) ? ipaddr.process(text).toString() : null;
}

/** `1.2.3.4:5`, `[::1]:5` and `[::1]`, as some proxies write them. */
function withoutPort(text: string): string {
  const trimmed = text.trim();
  return /^\[([^\]]*)\]/.exec(trimmed)?.[1] ?? /^([\d.]+):\d+$/.exec(trimmed)?.[1] ?? trimmed;
}
