/** Judges a URL before anything is sent: its text first, then every address its name stands for. */
import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import { isListedAddress, isListedName, isPublicAddress } from "./address.ts";
import { OutboundError } from "./outbound-error.ts";
import type { OutboundPolicy } from "./policy.ts";

const maxLength = 8_192;
const defaultPorts: Record<string, number> = { "http:": 80, "https:": 443 };

/**
 * The URL, parsed once: from here on nobody looks at the text again. A literal address is judged here already; a name is
 * by `checkHost`. `base` is what a redirect is relative to.
 * @throws OutboundError `not_allowed`
 */
export function checkUrl(text: string, policy: OutboundPolicy, base?: URL): URL {
  // Parsers disagree about these (a tab is dropped, a backslash is a slash), and no honest URL has them.
  if (text.length > maxLength || /[\s\\\p{Cc}]/u.test(text)) throw refusal("is not a valid URL");
  const url = URL.parse(text, base?.href);
  if (url === null) throw refusal("is not a valid URL");
  if (!policy.protocols.includes(url.protocol)) {
    const schemes = policy.protocols.map((protocol) => `${protocol}//`).join(" or ");
    throw refusal(`does not begin with ${schemes}`);
  }
  if (url.username !== "" || url.password !== "") throw refusal("names a user or a password");
  const port = url.port === "" ? defaultPorts[url.protocol] : Number(url.port);
  if (policy.ports !== "any" && (port === undefined || !policy.ports.includes(port)))
    throw refusal("names a port that is not allowed");
  const literal = literalAddress(url);
  if (literal !== null && !isAllowed(literal, policy)) throw notPublic();
  return url;
}

/**
 * All addresses of the URL's host. One bad address among several is enough to refuse: which one is used must not be a
 * matter of luck.
 * @throws OutboundError `not_allowed`; `unreachable` when the name is not known
 */
export async function checkHost(
  url: URL,
  policy: OutboundPolicy,
  signal: AbortSignal = AbortSignal.timeout(10_000),
): Promise<string[]> {
  const name = url.hostname;
  const literal = literalAddress(url);
  const isListed = isListedName(name, policy.allow);
  const addresses = literal === null ? await resolve(name, policy, isListed, signal) : [literal];
  if (addresses.length === 0) throw new OutboundError("unreachable", "the host is not known");
  if (!isListed && !addresses.every((address) => isAllowed(address, policy))) throw notPublic();
  return addresses;
}

function isAllowed(address: string, policy: OutboundPolicy): boolean {
  return isPublicAddress(address) || isListedAddress(address, policy.allow);
}

/** The host when it is an address and not a name; the URL parser has made all spellings of one alike. */
function literalAddress(url: URL): string | null {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return isIP(host) === 0 ? null : host;
}

/** Whoever waits is let go at the signal, whatever becomes of the question. */
async function resolve(
  hostname: string,
  policy: OutboundPolicy,
  isListed: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    const asked =
      policy.resolve?.(hostname, signal) ??
      (isListed ? askSystem(hostname) : askNameServers(hostname, policy.nameServers, signal));
    return await Promise.race([asked, late]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Strangers' names go to the name servers only: asking the system would hold one of the process's few I/O threads. */
async function askNameServers(
  hostname: string,
  servers: readonly string[] = [],
  signal: AbortSignal,
): Promise<string[]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  if (servers.length > 0) resolver.setServers(servers);
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel);
  try {
    const answers = await Promise.allSettled([
      resolver.resolve4(hostname),
      resolver.resolve6(hostname),
    ]);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Names that the operator has listed may be known to this machine only. */
async function askSystem(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true }).catch(() => []);
  return found.map(({ address }) => address);
}

function refusal(what: string): OutboundError {
  return new OutboundError("not_allowed", `the URL ${what}`);
}

function notPublic(): OutboundError {
  return new OutboundError("not_allowed", "the host is not on the public internet");
}
