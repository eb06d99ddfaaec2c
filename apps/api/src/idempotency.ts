/** The id that a request chooses for its job, so that sending it again cannot make another. */
import { jobId } from "@glimpse/contracts";
import { ApiError } from "./api-error.ts";

/** The key of an `Idempotency-Key` header, the same whether it comes bare or as a quoted string (RFC 9651); null without a header. */
export function readIdempotencyKey(header: string | undefined): string | null {
  if (header === undefined) return null;
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(header)?.[1];
  const key = quoted?.replaceAll(/\\(["\\])/g, "$1") ?? header;
  const isKey = quoted === undefined ? /^[\x21\x23-\x7e]{1,255}$/ : /^.{1,255}$/;
  if (isKey.test(key)) return key;
  throw new ApiError(
    "invalid_idempotency_key",
    "An idempotency key is 1 to 255 ASCII characters, bare or in double quotes.",
  );
}

/** An id that the client has made up. Throws an ApiError when no job of this shard can have it. */
export function readChosenId(id: string, shard: string): string {
  if (jobId.safeParse(id).success && id.startsWith(`job_${shard}_`)) return id;
  throw new ApiError(
    "invalid_request",
    `An id is job_${shard}_ and 32 hexadecimal digits of the client's choice.`,
    "id",
  );
}
