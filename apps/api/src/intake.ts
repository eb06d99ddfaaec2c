/**
 * From a body's bytes to a submission whose pictures are kept: parsed, checked, fetched and stored.
 * All that handles megabytes is behind this interface, so that it can be done in a thread.
 */
import type { InputPart, JobInput, Metadata } from "@glimpse/contracts";
import type { Blobs } from "@glimpse/ledger";
import type { Limits } from "./config.ts";
import type { FetchImage } from "./fetch-image.ts";
import type { BodyPart } from "./parse-body.ts";
import { parseBody } from "./parse-body.ts";

export type TakenIn = { model: string | null; input: JobInput; metadata: Metadata };

/** Throws ApiErrors, and Redis's errors. The bytes may be gone afterwards. */
export type Intake = (bytes: Uint8Array<ArrayBuffer>, contentType: string) => Promise<TakenIn>;

export function createIntake(deps: {
  limits: Limits;
  blobs: Blobs;
  fetchImage: FetchImage;
}): Intake {
  const { limits, blobs, fetchImage } = deps;

  return async function takeIn(bytes, contentType) {
    const { model, messages, options, metadata } = await parseBody(bytes, contentType, limits);
    const stored = await Promise.all(
      messages.map(async ({ role, content }) => {
        if (typeof content === "string") return { role, content };
        return { role, content: await Promise.all(content.map(store)) };
      }),
    );
    return { model, input: { messages: stored, options }, metadata };
  };

  async function store(part: BodyPart): Promise<InputPart> {
    if (part.type === "text") return part;
    const { picture } = part;
    const { bytes, digest } =
      "url" in picture ? await fetchImage(picture.url, picture.param) : picture;
    await blobs.put(digest, bytes);
    return { type: "image", digest };
  }
}
