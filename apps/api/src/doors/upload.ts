/** A form with one file in it, read as it comes. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { Busboy } from "@fastify/busboy";
import { ApiError } from "../api-error.ts";

const maxFieldBytes = 1_024;

export type Upload = {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
  fields: ReadonlyMap<string, string>;
};

/** `field`: what the form calls the file. Throws ApiErrors. */
export async function readUpload(
  request: Request,
  field: string,
  maxBytes: number,
): Promise<Upload> {
  const refuse = (message: string) => new ApiError("invalid_multipart", message);
  const type = request.headers.get("Content-Type") ?? "";
  if (!/^multipart\/form-data;/i.test(type) || request.body === null)
    throw new ApiError("unsupported_media_type", "Send multipart/form-data.");
  const chunks: Buffer[] = [];
  const fields = new Map<string, string>();
  const file = { name: null as string | null, isCut: false };
  try {
    const reader = new Busboy({
      headers: { "content-type": type },
      limits: { fileSize: maxBytes, files: 2, fields: 8, fieldSize: maxFieldBytes },
    });
    reader.on("field", (name, value) => fields.set(name, value));
    reader.on("file", (name, stream, filename) => {
      // Some clients send fields as files, such as JSON.
      if (name !== field) return void stream.resume();
      file.name = filename || field;
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("limit", () => (file.isCut = true));
    });
    await pipeline(Readable.fromWeb(request.body as ReadableStream), reader);
  } catch {
    throw refuse("The body is not a valid multipart form.");
  }
  if (file.isCut)
    throw new ApiError("body_too_large", `The file has more than ${maxBytes} bytes.`, field);
  if (file.name === null) throw refuse(`The form has no file called ${field}.`);
  return { name: file.name, bytes: new Uint8Array(Buffer.concat(chunks)), fields };
}
