/** JSON as it is written, Unicode, and all other bodies (I12 to I15, I17, I18, I28, I37). */
import type { Case } from "./bodies.ts";
import { many, prompt, repeat, rowsOf } from "./bodies.ts";
import { encodedRows } from "./encodings.ts";
import { fieldRows } from "./fields.ts";
import type { Part } from "./rows.ts";

const texts: Case[] = [
  ["nothing", "", 400, "invalid_json"],
  ["an open brace", "{", 400, "invalid_json"],
  ["ten thousand levels", repeat('{"a":', 10_000) + "1" + repeat("}", 10_000), 400, "invalid_json"],
  ["a million brackets", repeat("[", 1_000_000), 400, "invalid_json"],
  ["a name of a megabyte", `{"${repeat("a", 1_000_000)}":1,"prompt":"x"}`, 400, "invalid_json"],
  [
    "a million numbers",
    `{"prompt":"x","images":[${repeat("0,", 1_000_000)}0]}`,
    400,
    "invalid_json",
  ],
  [
    "a hundred thousand names",
    `{${many(100_000, (i) => `"a${i}":1`).join()}}`,
    400,
    "invalid_json",
  ],
  ["a field twice", '{"prompt":"x","prompt":"y"}', 400, "invalid_json"],
  [
    "a field twice, once escaped",
    String.raw`{"prompt":"x","\u0070rompt":"y"}`,
    400,
    "invalid_json",
  ],
  ["__proto__", '{"prompt":"x","__proto__":{"admin":true}}', 400, "invalid_json"],
  [
    "__proto__ in options",
    '{"prompt":"x","options":{"__proto__":{"seed":1}}}',
    400,
    "invalid_json",
  ],
  ["__proto__ in metadata", '{"prompt":"x","metadata":{"__proto__":"y"}}', 400, "invalid_json"],
  ["constructor", '{"prompt":"x","constructor":{"prototype":{}}}', 422, "unknown_field"],
  ["toString", '{"prompt":"x","toString":"y"}', 422, "unknown_field"],
  ["a number beyond all", '{"prompt":"x","options":{"temperature":1e400}}', 422, "invalid_request"],
  [
    "a number of a megabyte",
    `{"prompt":"x","deadline_ms":${repeat("9", 1_000_000)}}`,
    422,
    "invalid_request",
  ],
  ["NaN", '{"prompt":"x","options":{"temperature":NaN}}', 400, "invalid_json"],
  ["Infinity", '{"prompt":"x","options":{"temperature":Infinity}}', 400, "invalid_json"],
  ["half a character", String.raw`{"prompt":"\ud800"}`, 400, "invalid_json"],
  [
    "half a character in metadata",
    String.raw`{"prompt":"x","metadata":{"a":"\udfff"}}`,
    400,
    "invalid_json",
  ],
  [
    "half a character in a name",
    String.raw`{"prompt":"x","metadata":{"\udfff":"a"}}`,
    400,
    "invalid_json",
  ],
  ["a byte order mark", `\ufeff${JSON.stringify({ prompt })}`, 400, "invalid_json"],
  ["UTF-16", Buffer.from(JSON.stringify({ prompt }), "utf16le"), 400, "invalid_json"],
  ["bytes that are no UTF-8", Buffer.from('{"prompt":"\xff"}', "latin1"), 400, "invalid_json"],
  ["a comment", '{"prompt":"x"/* y */}', 400, "invalid_json"],
  ["a comma too much", '{"prompt":"x",}', 400, "invalid_json"],
  ["single quotes", "{'prompt':'x'}", 400, "invalid_json"],
  ["two values", '{"prompt":"x"}{"prompt":"y"}', 400, "invalid_json"],
  ["an array", "[]", 422, "invalid_request"],
  ["null", "null", 422, "invalid_request"],
  ["a string", '"prompt"', 422, "invalid_request"],
  ["a number", "1", 422, "invalid_request"],
  ["NUL", String.raw`{"prompt":"a\u0000b"}`, 400, "invalid_json"],
  ["a bare NUL", '{"prompt":"a\0b"}', 400, "invalid_json"],
  ["a bare line end", '{"prompt":"a\nb"}', 400, "invalid_json"],
  ["JSON as text", JSON.stringify({ prompt }), 415, "unsupported_media_type", "text/plain"],
  [
    "JSON as a form",
    JSON.stringify({ prompt }),
    415,
    "unsupported_media_type",
    "application/x-www-form-urlencoded",
  ],
  [
    "JSON as a type of nobody",
    JSON.stringify({ prompt }),
    415,
    "unsupported_media_type",
    "application/json5",
  ],
  ["JSON as no type", JSON.stringify({ prompt }), 415, "unsupported_media_type", " "],
];

/** Unicode that is odd and allowed, and too much of it. */
const unicode: Case[] = [
  ["text from right to left", { prompt: "\u202eevil\u202c \u05d0\u05d1" }, 202],
  ["marks on marks", { prompt: `Z${repeat("\u0300\u0489", 500)}algo` }, 202],
  ["spaces that are none", { prompt: "a\u200b\u00a0\ufeff\u2028\u0085b" }, 202],
  ["characters of no plane", { prompt: "\u{10ffff}\u{f0000}\ufdd0\uffff" }, 202],
  ["a family", { prompt: "👩‍👩‍👧‍👦 é e\u0301" }, 202],
  ["only spaces", { prompt: "\u2003 \n\t" }, 422, "invalid_prompt"],
  ["two million characters", { prompt: repeat("ä", 2_000_000) }, 422, "invalid_request"],
  [
    "two million characters in parts",
    {
      messages: [
        { role: "user", content: many(4, () => ({ type: "text", text: repeat("a", 500_000) })) },
      ],
    },
    422,
    "context_too_long",
  ],
  ["ten megabytes", { prompt: repeat("a", 10_000_000) }, 413, "body_too_large"],
];

export const json: Part = {
  name: "json",
  prepare: () => ({
    env: { MAX_BODY_BYTES: "6000000", MAX_IMAGE_BYTES: "1000000" },
    rows: [...rowsOf("I14", texts), ...rowsOf("I15", unicode), ...encodedRows, ...fieldRows],
  }),
};
