/**
 * The one way out: fetches what strangers name. Connections go to exactly the addresses that were checked, are used once,
 * and every redirect is judged anew. Knows neither pictures nor webhooks.
 */
import { isIPv6 } from "node:net";
import { Agent, buildConnector, errors, request } from "undici";
import type { Dispatcher } from "undici";
import { isSameAddress } from "./address.ts";
import { checkHost, checkUrl } from "./check.ts";
import { OutboundError } from "./outbound-error.ts";
import type { OutboundPolicy } from "./policy.ts";

export type OutsideOptions = {
  policy: OutboundPolicy;
  method?: "GET" | "HEAD" | "POST";
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** For everything together: names, redirects, the answer's last byte. */
  deadlineMs: number;
  /** Of the answer's body. */
  maxBytes: number;
  /** What becomes of a longer body: its beginning is returned, or it is `too_large`. */
  overflow?: "cut" | "refuse";
  /** Followed for GET and HEAD; with 0, or for a POST, a redirect is an answer like others. */
  maxRedirects?: number;
  /** Ends it early; its reason is thrown. */
  signal?: AbortSignal;
};

/** `headers`: names in lower case; `address`: who answered; the body is as it came, nothing is decompressed. */
export type OutsideAnswer = {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array<ArrayBuffer>;
  isTruncated: boolean;
  address: string;
};

/**
 * Fetches a URL that a stranger has named. Statuses are not judged.
 * @throws OutboundError; the reason of `signal`
 */
export async function fetchOutside(
  target: string | URL,
  options: OutsideOptions,
): Promise<OutsideAnswer> {
  const { policy, deadlineMs, maxRedirects = 0, method = "GET" } = options;
  const deadline = AbortSignal.timeout(deadlineMs);
  const signal = AbortSignal.any([deadline, ...(options.signal ? [options.signal] : [])]);
  let headers = { "accept-encoding": "identity", ...options.headers };
  let url = checkUrl(String(target), policy);
  try {
    for (let hop = 0; ; hop++) {
      const addresses = await checkHost(url, policy, signal);
      const answer = await exchange(url, addresses, { ...options, method, headers, signal });
      const { location } = answer.headers;
      const isRedirect = answer.status >= 300 && answer.status < 400 && location !== undefined;
      if (!isRedirect || maxRedirects === 0 || method === "POST") return answer;
      if (hop === maxRedirects) throw new OutboundError("too_many_redirects");
      const next = checkUrl(location, policy, url);
      if (url.protocol === "https:" && next.protocol !== "https:")
        throw new OutboundError("not_allowed", "the URL redirects from https to http");
      // Another host has no business with what was meant for the first.
      if (next.origin !== url.origin) headers = { "accept-encoding": "identity" };
      url = next;
    }
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    if (deadline.aborted) throw new OutboundError("late", undefined, { cause: error });
    throw error instanceof OutboundError ? error : errorFrom(error);
  }
}

/** One request on a connection of its own. */
async function exchange(
  url: URL,
  addresses: string[],
  options: OutsideOptions & { signal: AbortSignal; method: Dispatcher.HttpMethod },
): Promise<OutsideAnswer> {
  const connection: { address?: string } = {};
  const dispatcher = pinnedAgent(addresses, options.deadlineMs, connection);
  try {
    const { method, headers = {}, body = null, signal, maxBytes, overflow = "cut" } = options;
    const response = await request(url, { dispatcher, method, headers, body, signal });
    const answer = {
      status: response.statusCode,
      headers: plainHeaders(response.headers),
      address: connection.address ?? "",
    };
    if (overflow === "refuse" && Number(answer.headers["content-length"]) > maxBytes)
      throw new OutboundError("too_large");
    const read = await readAtMost(response.body, maxBytes);
    if (overflow === "refuse" && read.isTruncated) throw new OutboundError("too_large");
    return { ...answer, ...read };
  } finally {
    await dispatcher.destroy();
  }
}

/** Connects to one of the addresses, whatever name servers say by now; TLS checks the URL's name. */
function pinnedAgent(
  addresses: string[],
  timeoutMs: number,
  connection: { address?: string },
): Agent {
  const connect = buildConnector({
    timeout: timeoutMs,
    allowH2: false,
    maxCachedSessions: 0,
    rejectUnauthorized: true,
    lookup: (_hostname, { all }, done) => {
      const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
      if (all === true) return done(null, found);
      return done(null, found[0]?.address ?? "", found[0]?.family);
    },
  });
  return new Agent({
    pipelining: 0,
    allowH2: false,
    maxHeaderSize: 16_384,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: (target, done) =>
      connect(target, (...outcome) => {
        const [error, socket] = outcome;
        if (error !== null) return done(error, null);
        const remote = socket.remoteAddress ?? "";
        if (addresses.some((address) => remote !== "" && isSameAddress(address, remote))) {
          connection.address = remote;
          return done(...outcome);
        }
        socket.destroy();
        return done(new OutboundError("not_allowed"), null);
      }),
  });
}

async function readAtMost(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ body: Uint8Array<ArrayBuffer>; isTruncated: boolean }> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) break;
  }
  const read = new Uint8Array(Math.min(length, maxBytes));
  let at = 0;
  for (const chunk of chunks) {
    read.set(chunk.subarray(0, maxBytes - at), at);
    at += chunk.length;
  }
  return { body: read, isTruncated: length > maxBytes };
}

function plainHeaders(
  headers: Record<string, string | string[] | undefined>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name.toLowerCase(),
      Array.isArray(value) ? value.join(", ") : (value ?? ""),
    ]),
  );
}

/** The library's own words stay in `cause`, for the log. */
function errorFrom(error: unknown): OutboundError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const reason =
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError ||
    error instanceof errors.ConnectTimeoutError
      ? "late"
      : error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError
        ? "bad_answer"
        : /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|EPROTO)/.test(code)
          ? "tls"
          : "unreachable";
  return new OutboundError(reason, undefined, { cause: error });
}
