/** The thread in which big bodies are parsed. Errors lose their class between threads, so refusals go back as values. */
import type { ErrorCode } from "@glimpse/contracts";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { ParsedBody } from "./parse-body.ts";
import { parseBody } from "./parse-body.ts";

export type ParseTask = { bytes: Uint8Array<ArrayBuffer>; contentType: string; limits: Limits };
export type ParseReply =
  | { ok: true; body: ParsedBody }
  | { ok: false; code: ErrorCode; message: string; param: string | null };

export default async function parseInThread({
  bytes,
  contentType,
  limits,
}: ParseTask): Promise<ParseReply> {
  try {
    return { ok: true, body: await parseBody(bytes, contentType, limits) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { code, message, param } = error;
    return { ok: false, code, message, param };
  }
}
