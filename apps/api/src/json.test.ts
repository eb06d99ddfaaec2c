import { describe, expect, test } from "vitest";
import { parseJson } from "./json.ts";

const parse = (text: string) => parseJson(Buffer.from(text));
const refused = (text: string | Uint8Array) => {
  try {
    parseJson(Buffer.from(text));
  } catch (error) {
    return (error as Error).message;
  }
  return "taken";
};

test.each([
  '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
  String.raw`{"a":"\\\"","b":"\ud83d\ude00 \u00e9 \\u0000","a\\":1}`,
  '["a","a",{"":1}]',
  ` {"a" : "b,{[", "c":[ "a" , "b" ] } `,
  '"\u{1f600}"',
  "-1.5e3",
])("reads %s as JSON.parse does", (text) => {
  expect(parse(text)).toEqual(JSON.parse(text));
});

test.each([
  ["the same field twice", '{"a":1,"b":2,"a":3}', "same field twice"],
  ["escaped the second time", String.raw`{"a":1,"\u0061":3}`, "same field twice"],
  ["twice within", '{"x":[{"a":1,"b":[],"a":2}]}', "same field twice"],
  ["__proto__", '{"a":{"__proto__":1}}', "field __proto__"],
  ["__proto__ escaped", String.raw`{"__proto\u005f_":1}`, "field __proto__"],
  ["a high half", String.raw`"\ud800"`, "half a surrogate"],
  ["a high half before another escape", String.raw`"\ud800\u0041"`, "half a surrogate"],
  ["a low half", String.raw`["a\\\udc00"]`, "half a surrogate"],
  ["halves in the wrong order", String.raw`"\ude00\ud83d"`, "half a surrogate"],
  ["a half in a name", String.raw`{"\ud800":1}`, "half a surrogate"],
  ["NUL", String.raw`{"a":"x\u0000"}`, "U+0000"],
  ["a bare NUL", '"\0"', "not valid JSON"],
  ["half a pair in UTF-8", Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22), "not valid JSON"],
  ["overlong UTF-8", Uint8Array.of(0x22, 0xc0, 0x80, 0x22), "not valid JSON"],
  ["UTF-16", Buffer.from('"a"', "utf16le"), "not valid JSON"],
  ["a byte order mark", "\ufeff{}", "not valid JSON"],
  ["65 levels", "[".repeat(65) + "]".repeat(65), "deeper than 64"],
  ["ten thousand levels", '{"a":'.repeat(10_000), "deeper than 64"],
  ["a long name", `{"${"x".repeat(300)}":1}`, "field name"],
  ["many values", `[${"0,".repeat(60_000)}0]`, "more than 50000 values"],
  ["many names", `{${Array.from({ length: 60_000 }, (_, i) => `"${i}":0`).join()}}`, "values"],
  ["an endless string", '{"a":"', "not valid JSON"],
  ["an escape at the end", '"\\', "not valid JSON"],
  ["half an escape", String.raw`"\u00`, "not valid JSON"],
  ["NaN", '{"a":NaN}', "not valid JSON"],
  ["two values", "{}{}", "not valid JSON"],
  ["brackets that close nothing", "]}".repeat(9), "not valid JSON"],
  ["nothing", "", "not valid JSON"],
])("refuses %s", (_name, text, words) => {
  expect(refused(text)).toContain(words);
});

describe("what has to be read costs what it weighs", () => {
  // Each took minutes when a string's end was searched for again at each escape.
  test.each([
    ["backslashes", `"${"\\\\".repeat(2_000_000)}"`],
    ["escaped characters", `"${String.raw`\u0041`.repeat(700_000)}"`],
    ["many strings, then one escape", `[${'"",'.repeat(40_000)}"\\n"]`],
  ])("%s", (_name, text) => {
    expect(() => parse(text)).not.toThrow();
  });
});
