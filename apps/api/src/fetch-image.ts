/** Pictures behind URLs that strangers name: fetched through the guard, then checked like any other bytes. */
import { fetchOutside, OutboundError } from "@glimpse/outbound";
import type { OutboundPolicy } from "@glimpse/outbound";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { CheckedPicture } from "./picture.ts";
import { checkPicture } from "./picture.ts";

export type FetchImageOptions = { limits: Limits; timeoutMs: number; policy: OutboundPolicy };

export type FetchImage = (url: string, param: string) => Promise<CheckedPicture>;

/** The returned function throws ApiErrors `invalid_image_url`, `failed_to_download_image` and those of `checkPicture`. */
export function createFetchImage({ limits, timeoutMs, policy }: FetchImageOptions): FetchImage {
  return async function fetchImage(url, param) {
    const { status, headers, body } = await fetchOutside(url, {
      policy,
      headers: { accept: "image/jpeg, image/png, image/webp" },
      deadlineMs: timeoutMs,
      maxBytes: limits.imageBytes,
      overflow: "refuse",
      maxRedirects: 3,
    }).catch((error: unknown) => {
      throw error instanceof OutboundError ? refusal(error, limits, param) : error;
    });
    const encoding = headers["content-encoding"] ?? "identity";
    if (status !== 200 || encoding !== "identity") {
      const message = "The picture's host did not answer with a picture.";
      throw new ApiError("failed_to_download_image", message, param);
    }
    return checkPicture(body, limits, param);
  };
}

function refusal({ reason, message }: OutboundError, limits: Limits, param: string): ApiError {
  const sentence = `The picture cannot be fetched: ${message}.`;
  if (reason === "not_allowed") return new ApiError("invalid_image_url", sentence, param);
  if (reason === "too_large") {
    const tooLarge = `The picture has more than ${limits.imageBytes} bytes.`;
    return new ApiError("image_file_too_large", tooLarge, param);
  }
  return new ApiError("failed_to_download_image", sentence, param);
}
