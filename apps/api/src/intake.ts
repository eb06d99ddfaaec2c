/**
 * From a body's bytes to a submission whose pictures are kept: parsed, checked, fetched and stored.
 * All that handles megabytes is behind this interface, so that it can be done in a thread.
 */
import type { Dialect, InputPart, JobInput } from "@glimpse/contracts";
import type { Blobs, Files, Ledger } from "@glimpse/ledger";
import { fingerprint } from "@glimpse/ledger";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { FetchImage } from "./fetch-image.ts";
import type { BodyPart, ParsedBody } from "./parse-body.ts";
import { parseBody } from "./parse-body.ts";
import type { CheckedPicture, Picture } from "./picture.ts";
import { checkPicture, uploaded } from "./picture.ts";

/** The id that the request has chosen for its job. */
export type Choice = { id: string; tenant: string };

/**
 * `fingerprint` is what another body with the same id must have; null when no id was chosen. `bytes` counts the body and the
 * pictures that were fetched for it.
 */
export type TakenIn = Omit<ParsedBody, "messages" | "options"> & {
  input: JobInput;
  fingerprint: string | null;
  bytes: number;
};

/**
 * "known": the tenant has sent this body with this id before, and its pictures are not looked at again.
 * Throws ApiErrors, and the errors of Redis and blobs. The bytes may be gone afterwards.
 */
export type Intake = (
  bytes: Uint8Array<ArrayBuffer>,
  contentType: string,
  choice: Choice | null,
  from: { tenant: string; dialect?: Dialect | undefined },
) => Promise<TakenIn | "known">;

export function createIntake(deps: {
  limits: Limits;
  blobs: Blobs;
  ledger: Pick<Ledger, "isSubmitted">;
  files: Pick<Files, "get" | "read">;
  fetchImage: FetchImage;
}): Intake {
  const { limits, blobs, ledger, files, fetchImage } = deps;

  return async function takeIn(bytes, contentType, choice, { tenant, dialect }) {
    let total = bytes.byteLength;
    const body = await parseBody(bytes, contentType, limits, dialect);
    const print = choice && fingerprintOf(body);
    if (choice && print && (await ledger.isSubmitted({ ...choice, fingerprint: print })))
      return "known";
    const { messages, options, ...rest } = body;
    const stored = await Promise.all(
      messages.map(async ({ role, content }) => {
        if (typeof content === "string") return { role, content };
        return { role, content: await Promise.all(content.map(store)) };
      }),
    );
    return { ...rest, input: { messages: stored, options }, fingerprint: print, bytes: total };

    async function store(part: BodyPart): Promise<InputPart> {
      if (part.type === "text") return part;
      const picture = await bytesOf(part.picture, tenant);
      if ("url" in part.picture) total += picture.bytes.byteLength;
      await blobs.put(picture.digest, picture.bytes);
      return { type: "image", digest: picture.digest };
    }
  };

  function bytesOf(picture: Picture, tenant: string) {
    return "url" in picture ? fetchPicture(picture, tenant) : picture;
  }

  async function fetchPicture(
    { url, param }: { url: string; param: string },
    tenant: string,
  ): Promise<CheckedPicture> {
    if (!url.startsWith(uploaded)) return fetchImage(url, param);
    const file = await files.get(tenant, url.slice(uploaded.length));
    const bytes = file && (await files.read(file));
    if (!bytes) throw new ApiError("file_not_found", "There is no such file.", param);
    return checkPicture(new Uint8Array(bytes), limits, param);
  }
}

/** A picture behind a URL counts by its URL: the same request stays the same whatever is there by now. */
function fingerprintOf({ messages, ...rest }: ParsedBody): string {
  const named = messages.map(({ role, content }) => {
    if (typeof content === "string") return { role, content };
    const parts = content.map((part) => {
      if (part.type === "text") return part;
      return "url" in part.picture ? { url: part.picture.url } : { digest: part.picture.digest };
    });
    return { role, content: parts };
  });
  return fingerprint({ ...rest, messages: named });
}
