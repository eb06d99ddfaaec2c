/** Pictures behind URLs that strangers name: fetched through the guard, then checked like any other bytes. */
import { fetchOutside, OutboundError } from "@glimpse/outbound";
import type { OutboundPolicy } from "@glimpse/outbound";
import { bulkhead, isBulkheadRejectedError } from "cockatiel";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { CheckedPicture } from "./picture.ts";
import { checkPicture } from "./picture.ts";

export type FetchImageOptions = {
  limits: Limits;
  timeoutMs: number;
  /** Pictures that are on their way, and in memory, at once; twice as many wait. */
  atOnce: number;
  policy: OutboundPolicy;
};

export type FetchImage = (url: string, param: string) => Promise<CheckedPicture>;

/**
 * The returned function throws ApiErrors `invalid_image_url`, `failed_to_download_image`, `overloaded` and those of
 * `checkPicture`.
 */
export function createFetchImage(options: FetchImageOptions): FetchImage {
  const { limits, timeoutMs, atOnce, policy } = options;
  const places = bulkhead(atOnce, 2 * atOnce);

  const get = (url: string) =>
    fetchOutside(url, {
      policy,
      headers: { accept: "image/jpeg, image/png, image/webp" },
      deadlineMs: timeoutMs,
      maxBytes: limits.imageBytes,
      overflow: "refuse",
      maxRedirects: 3,
    });

  return async function fetchImage(url, param) {
    const fetched = places.execute(() => get(url));
    const { status, headers, body } = await fetched.catch((error: unknown) => {
      if (error instanceof OutboundError) throw refusal(error, limits, param);
      if (!isBulkheadRejectedError(error)) throw error;
      throw new ApiError("overloaded", "Too many pictures are being fetched. Try again.", param);
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
