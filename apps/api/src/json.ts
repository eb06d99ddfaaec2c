/**
 * JSON from strangers: UTF-8 only, and nothing that two readers could take differently or that costs more than it says.
 * Everything is refused before it is built; what is no JSON at all is left to JSON.parse to find.
 */
import { ApiError } from "./api-error.ts";

const maxDepth = 64;
/** Of all objects and arrays together: a submission has a few dozen, and each costs a hundred times its bytes. */
const maxValues = 50_000;
const maxNameBytes = 256;

const [quote, backslash, comma, letterU] = [0x22, 0x5c, 0x2c, 0x75];
const [openBracket, openBrace] = [0x5b, 0x7b];
const [closeBracket, closeBrace] = [0x5d, 0x7d];
// A byte order mark is kept, so that JSON.parse refuses it.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The value, or an ApiError `invalid_json`. `param` names the field when it is not the whole body. */
export function parseJson(bytes: Uint8Array, param: string | null = null): unknown {
  const what = param ?? "The body";
  const complaint = findFault(bytes);
  if (complaint !== null) throw new ApiError("invalid_json", `${what} ${complaint}.`, param);
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    throw new ApiError("invalid_json", `${what} is not valid JSON in UTF-8.`, param);
  }
}

/** What is wrong with a text that may be JSON, in words that follow "The body"; null if nothing. Reads each byte once. */
function findFault(bytes: Uint8Array): string | null {
  /** The names so far of each open object; null for an array. */
  const open: (Set<string> | null)[] = [];
  const strings = createStringReader(bytes);
  let values = 0;
  let isName = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quote) {
      const end = strings.endOf(i);
      if (end === null) return "has a character that is none: U+0000 or half a surrogate pair";
      const names = open.at(-1);
      if (isName && names) {
        if (end - i > maxNameBytes) return `has a field name of more than ${maxNameBytes} bytes`;
        const name = readName(bytes.subarray(i, end + 1));
        if (name === "__proto__") return "has a field __proto__";
        if (names.has(name)) return "has the same field twice in an object";
        names.add(name);
        isName = false;
      }
      i = end;
    } else if (byte === openBracket || byte === openBrace) {
      open.push(byte === openBrace ? new Set() : null);
      isName = byte === openBrace;
      if (open.length > maxDepth) return `is nested deeper than ${maxDepth} levels`;
      values++;
    } else if (byte === closeBracket || byte === closeBrace) {
      open.pop();
      isName = false;
    } else if (byte === comma) {
      isName = open.at(-1) instanceof Set;
      values++;
    }
    if (values > maxValues) return `has more than ${maxValues} values`;
  }
  return null;
}

/** Names are the same that mean the same, however they are escaped. One that cannot be read is for JSON.parse to refuse. */
function readName(quoted: Uint8Array): string {
  const text = Buffer.from(quoted).toString("utf8");
  if (!quoted.includes(backslash)) return text.slice(1, -1);
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}

/** Finds the ends of strings, going from one to the next; long strings without escapes are skipped at the speed of memory. */
function createStringReader(bytes: Uint8Array) {
  let nextQuote = -1;
  let nextEscape = -1;
  const find = (byte: number, from: number) => {
    const at = bytes.indexOf(byte, from);
    return at === -1 ? bytes.length : at;
  };

  /** The index of the quote that closes the string opened at `start`; null when it escapes what is no character of a text. */
  function endOf(start: number): number | null {
    let i = start + 1;
    for (;;) {
      if (nextQuote < i) nextQuote = find(quote, i);
      if (nextEscape < i) nextEscape = find(backslash, i);
      if (nextQuote <= nextEscape) return nextQuote;
      const length = escapeLength(bytes, nextEscape);
      if (length === null) return null;
      i = nextEscape + length;
    }
  }

  return { endOf };
}

/** How many bytes the escape at `start` has, both of a surrogate pair's together; null for U+0000 and half a pair. */
function escapeLength(bytes: Uint8Array, start: number): number | null {
  const unit = escapedUnit(bytes, start);
  if (unit === null) return 2;
  if (unit === 0) return null;
  if (unit < 0xd800 || unit > 0xdfff) return 6;
  const second = escapedUnit(bytes, start + 6) ?? 0;
  return unit < 0xdc00 && second >= 0xdc00 && second <= 0xdfff ? 12 : null;
}

/** The UTF-16 unit of a \uXXXX at this place; null where there is none. */
function escapedUnit(bytes: Uint8Array, start: number): number | null {
  if (bytes[start] !== backslash || bytes[start + 1] !== letterU) return null;
  let unit = 0;
  for (let i = start + 2; i < start + 6; i++) {
    const byte = bytes[i] ?? 0;
    const digit = byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57;
    if (digit < 0 || digit > 15) return null;
    unit = unit * 16 + digit;
  }
  return unit;
}
