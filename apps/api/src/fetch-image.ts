/**
 * Fetches pictures from addresses that strangers name. Every address a name stands for must be one of the public internet,
 * and the connection goes to exactly the address that was checked; each redirect is judged anew.
 */
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import ipaddr from "ipaddr.js";
import { Agent, buildConnector, request } from "undici";
import type { Dispatcher } from "undici";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { CheckedPicture } from "./picture.ts";
import { checkPicture } from "./picture.ts";

const maxRedirects = 3;

/** Public by its range, but Azure's own platform behind it. Other clouds' metadata lies in ranges that are not public. */
const platformAddress = "168.63.129.16";

export type FetchImageOptions = {
  limits: Limits;
  timeoutMs: number;
  /** The rest is for tests: which schemes and addresses are allowed, and how names are resolved. */
  protocols?: string[];
  isAllowed?: (address: string) => boolean;
  resolve?: (hostname: string) => Promise<string[]>;
};

export type FetchImage = (url: string, param: string) => Promise<CheckedPicture>;

/** The returned function throws ApiErrors `invalid_image_url`, `failed_to_download_image` and those of `checkPicture`. */
export function createFetchImage(options: FetchImageOptions): FetchImage {
  const {
    limits,
    timeoutMs,
    protocols = ["https:"],
    isAllowed = isPublicAddress,
    resolve = resolveAll,
  } = options;

  return async function fetchImage(text, param) {
    const signal = AbortSignal.timeout(timeoutMs);
    let url = parseUrl(text, param);
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const address = await checkedAddress(url, signal, param);
      const result = await download(url, address, signal, param);
      if (result instanceof Uint8Array) return checkPicture(result, limits, param);
      url = parseUrl(result, param, url);
    }
    throw new ApiError("failed_to_download_image", "The picture's URL redirects too often.", param);
  };

  function parseUrl(text: string, param: string, base?: URL): URL {
    const url = URL.parse(text, base?.href);
    if (url === null || !protocols.includes(url.protocol)) {
      throw new ApiError(
        "invalid_image_url",
        "A picture's URL is a data URL or begins with https://.",
        param,
      );
    }
    if (
      url.username !== "" ||
      url.password !== "" ||
      (url.protocol === "https:" && url.port !== "")
    ) {
      throw new ApiError(
        "invalid_image_url",
        "A picture's URL names neither a user nor a port.",
        param,
      );
    }
    return url;
  }

  /** The address to connect to. One bad address among several is enough to refuse: which one is used must not be a matter of luck. */
  async function checkedAddress(url: URL, signal: AbortSignal, param: string): Promise<string> {
    const literal = literalAddress(url);
    const addresses = literal === null ? await resolveInTime(url.hostname, signal) : [literal];
    const [first] = addresses;
    if (first === undefined) {
      throw new ApiError("failed_to_download_image", "The picture's host is not known.", param);
    }
    if (!addresses.every(isAllowed)) {
      throw new ApiError(
        "invalid_image_url",
        "The picture's host is not on the public internet.",
        param,
      );
    }
    return first;
  }

  /** Name servers may be slow, and a lookup cannot be aborted: whoever waits for it can. */
  async function resolveInTime(hostname: string, signal: AbortSignal): Promise<string[]> {
    const late = once(signal, "abort").then(() => []);
    return Promise.race([resolve(hostname).catch(() => []), late]);
  }

  /** The body, or where a redirect points to. */
  async function download(
    url: URL,
    address: string,
    signal: AbortSignal,
    param: string,
  ): Promise<Uint8Array<ArrayBuffer> | string> {
    const agent = pinnedAgent(url, address);
    try {
      const headers = {
        accept: "image/jpeg, image/png, image/webp",
        "accept-encoding": "identity",
      };
      const response = await request(url, {
        dispatcher: agent,
        signal,
        headers,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const { location, "content-encoding": encoding } = response.headers;
      if (response.statusCode >= 300 && response.statusCode < 400 && typeof location === "string")
        return location;
      if (response.statusCode !== 200 || encoding !== undefined) {
        throw new ApiError(
          "failed_to_download_image",
          "The picture's host did not answer with a picture.",
          param,
        );
      }
      return await readAtMost(response.body, limits.imageBytes, param);
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(
        "failed_to_download_image",
        "The picture's host could not be reached in time.",
        param,
      );
    } finally {
      await agent.destroy();
    }
  }
}

/** One connection to `address`, with the URL's host as the name that TLS checks. */
function pinnedAgent(url: URL, address: string): Agent {
  const connect = buildConnector({});
  const isName = literalAddress(url) === null;
  return new Agent({
    pipelining: 0,
    connect: (target, done) =>
      connect({ ...target, hostname: address, ...(isName && { servername: url.hostname }) }, done),
  });
}

/** The host when it is an address and not a name; the URL parser has made all spellings of one alike. */
function literalAddress(url: URL): string | null {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return ipaddr.isValid(host) ? host : null;
}

async function readAtMost(
  body: Dispatcher.ResponseData["body"],
  maxBytes: number,
  param: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > maxBytes) {
      throw new ApiError(
        "image_file_too_large",
        `The picture has more than ${maxBytes} bytes.`,
        param,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, length));
}

async function resolveAll(hostname: string): Promise<string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

/** Whether an address is one that anybody on the internet can reach. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const plain = ipaddr.process(address);
  return plain.range() === "unicast" && plain.toString() !== platformAddress;
}
