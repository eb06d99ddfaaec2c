/** From a request's body to a recorded and enqueued job. */
import type { InputMessage, InputPart } from "@glimpse/contracts";
import type { Blobs, Ledger, Queues } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { ApiError } from "./api-error.ts";
import type { FetchImage } from "./fetch-image.ts";
import type { BodyPart, ParsedBody } from "./parse-body.ts";
import type { Parser } from "./parser.ts";
import type { CheckedPicture, Picture } from "./picture.ts";

export type AcceptDeps = {
  ledger: Ledger;
  queues: Queues;
  blobs: Blobs;
  parser: Parser;
  fetchImage: FetchImage;
  served: { model: string; version: string };
  log: Logger;
};

export type Accept = (bytes: Uint8Array<ArrayBuffer>, contentType: string) => Promise<string>;

/** The returned function resolves to the job's id once the job cannot be lost any more. Throws ApiErrors. */
export function createAccept(deps: AcceptDeps): Accept {
  const { ledger, queues, blobs, parser, fetchImage, served, log } = deps;

  return async function accept(bytes, contentType) {
    const body = await parser.parse(bytes, contentType);
    if (body.model !== null && body.model !== served.model && body.model !== served.version) {
      throw new ApiError(
        "model_not_found",
        `There is no model ${body.model}; see /v1/models.`,
        "model",
      );
    }
    const messages = await storePictures(body.messages);
    const { options, metadata } = body;
    const id = await ledger.submit({ ...served, input: { messages, options }, metadata });
    try {
      await queues.enqueue({ id, version: served.version });
      await ledger.clearPending(id);
    } catch (error) {
      // The record is safe and marked as pending: the sweep enqueues it.
      log.warn({ error, job: id }, "recorded but not enqueued");
    }
    return id;
  };

  async function storePictures(messages: ParsedBody["messages"]): Promise<InputMessage[]> {
    return Promise.all(
      messages.map(async ({ role, content }) => {
        if (typeof content === "string") return { role, content };
        return { role, content: await Promise.all(content.map(storePart)) };
      }),
    );
  }

  async function storePart(part: BodyPart): Promise<InputPart> {
    if (part.type === "text") return part;
    const { bytes, digest } = await bring(part.picture);
    await blobs.put(digest, bytes);
    return { type: "image", digest };
  }

  async function bring(picture: Picture): Promise<CheckedPicture> {
    return "url" in picture ? fetchImage(picture.url, picture.param) : picture;
  }
}
