/** One picture of a submission, from whatever form it came in. */
import { webcrypto } from "node:crypto";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import { checkImageHeader } from "./image-header.ts";

/** Bytes that are checked, or a URL still to be fetched. */
export type Picture = CheckedPicture | { url: string; param: string };
export type CheckedPicture = { bytes: Uint8Array<ArrayBuffer>; digest: string };

/** What a door puts in place of the URL of a picture that was uploaded before; the file's id follows. */
export const uploaded = "glimpse-file:";

/** Checks the header and names the bytes by their SHA-256. Throws ApiErrors about `param`. */
export async function checkPicture(
  bytes: Uint8Array<ArrayBuffer>,
  limits: Limits,
  param: string,
): Promise<CheckedPicture> {
  checkImageHeader(bytes, limits, param);
  const digest = Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes)).toString("hex");
  return { bytes, digest };
}

/** A data URL's bytes, checked; or the https URL as it is. */
export async function readImageUrl(text: string, limits: Limits, param: string): Promise<Picture> {
  if (!/^data:/i.test(text)) return { url: text, param };
  const comma = text.indexOf(",");
  const header = /^data:([^;,]*);base64$/i.exec(text.slice(0, comma));
  if (comma === -1 || header === null) {
    throw new ApiError(
      "invalid_image_url",
      "The data URL is not of the form data:image/png;base64,...",
      param,
    );
  }
  return readBase64(text.slice(comma + 1), header[1] ?? "", limits, param);
}

/** Base64 with its declared type. What the bytes are is decided by the bytes; the type must only be one that we take. */
export async function readBase64(
  data: string,
  mediaType: string,
  limits: Limits,
  param: string,
): Promise<Picture> {
  if (!/^image\/(jpeg|jpg|png|webp)$/i.test(mediaType)) {
    throw new ApiError("unsupported_image_media_type", "Pictures are JPEG, PNG or WebP.", param);
  }
  const maxLength = Math.ceil(limits.imageBytes / 3) * 4;
  if (data.length > maxLength) {
    throw new ApiError(
      "image_file_too_large",
      `The picture has more than ${limits.imageBytes} bytes.`,
      param,
    );
  }
  const bytes = Buffer.from(data, "base64");
  // Buffer skips what it does not know; only canonical base64 comes out as it went in.
  if (bytes.toString("base64") !== data) {
    throw new ApiError("invalid_base64_image", "The picture is not valid base64.", param);
  }
  return checkPicture(new Uint8Array(bytes), limits, param);
}
