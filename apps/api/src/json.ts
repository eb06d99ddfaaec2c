/** JSON from strangers: UTF-8 only, and not so deep that whoever writes it again runs out of stack. */
import { ApiError } from "./api-error.ts";

const maxDepth = 64;
const [quote, backslash] = [0x22, 0x5c];
const [openBracket, openBrace] = [0x5b, 0x7b];
const [closeBracket, closeBrace] = [0x5d, 0x7d];
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The value, or an ApiError `invalid_json`. `param` names the field when it is not the whole body. */
export function parseJson(bytes: Uint8Array, param: string | null = null): unknown {
  const what = param ?? "The body";
  if (depthOf(bytes) > maxDepth) {
    throw new ApiError("invalid_json", `${what} is nested deeper than ${maxDepth} levels.`, param);
  }
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    throw new ApiError("invalid_json", `${what} is not valid JSON in UTF-8.`, param);
  }
}

/** How deep arrays and objects nest, read without building them; strings are skipped whole. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i);
    else if (byte === openBracket || byte === openBrace) deepest = Math.max(deepest, ++depth);
    else if (byte === closeBracket || byte === closeBrace) depth--;
  }
  return deepest;
}

/** The index of the quote that closes the string opened at `start`. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let end = bytes.indexOf(quote, start + 1); end !== -1; end = bytes.indexOf(quote, end + 1)) {
    let slashes = 0;
    while (bytes[end - 1 - slashes] === backslash) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return bytes.length;
}
