/** Pictures in base64 and in data URLs, and forms (I12, I13, I28). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Case } from "./bodies.ts";
import { many, prompt, repeat, rowsOf } from "./bodies.ts";
import type { Row } from "./rows.ts";

const samples = join(import.meta.dirname, "../../apps/api/public/samples");
const picture = readFileSync(join(samples, "number.png"));
const base64 = picture.toString("base64");
const image = (url: string) => ({ prompt, images: [url] });

const encodings: Case[] = [
  ["a picture", image(`data:image/png;base64,${base64}`), 202],
  ["a picture, its type in capitals", image(`DATA:IMAGE/PNG;BASE64,${base64}`), 202],
  [
    "a star in base64",
    image(`data:image/png;base64,${base64.replace("A", "*")}`),
    422,
    "invalid_base64_image",
  ],
  [
    "a line end in base64",
    image(`data:image/png;base64,${base64.slice(0, 40)}\n${base64.slice(40)}`),
    422,
    "invalid_base64_image",
  ],
  ["a space in base64", image(`data:image/png;base64, ${base64}`), 422, "invalid_base64_image"],
  [
    "base64 for URLs",
    { prompt, images: [{ data: "_-_-", media_type: "image/png" }] },
    422,
    "invalid_base64_image",
  ],
  ["base64 without padding", image("data:image/png;base64,QQ"), 422, "invalid_base64_image"],
  [
    "base64 with too much padding",
    image("data:image/png;base64,QQ==="),
    422,
    "invalid_base64_image",
  ],
  [
    "base64 whose last bits are set",
    image("data:image/png;base64,QR=="),
    422,
    "invalid_base64_image",
  ],
  ["no base64", image("data:image/png;base64,"), 422, "empty_image_file"],
  [
    "base64 of a megabyte too much",
    image(`data:image/png;base64,${repeat("AAAA", 500_000)}`),
    413,
    "image_file_too_large",
  ],
];

const dataUrls: Case[] = [
  ["without ;base64", image(`data:image/png,${base64}`), 422, "invalid_image_url"],
  [
    "with a charset",
    image(`data:image/png;charset=utf-8;base64,${base64}`),
    422,
    "invalid_image_url",
  ],
  [
    "with a parameter behind",
    image(`data:image/png;base64;x=y,${base64}`),
    422,
    "invalid_image_url",
  ],
  ["without a type", image(`data:;base64,${base64}`), 422, "unsupported_image_media_type"],
  ["without a comma", image(`data:image/png;base64${base64}`), 422, "invalid_image_url"],
  ["of SVG", image("data:image/svg+xml;base64,PHN2Zy8+"), 422, "unsupported_image_media_type"],
  ["of HTML", image("data:text/html;base64,PHN2Zy8+"), 422, "unsupported_image_media_type"],
  ["of a comma", image("data:,"), 422, "invalid_image_url"],
  ["of commas", image(`data:image/png;base64,${repeat(",", 1_000)}`), 422, "invalid_base64_image"],
  [
    "of many frames",
    image(`data:image/png;base64,${repeat(`${base64},`, 100)}`),
    422,
    "invalid_base64_image",
  ],
  [
    "of a type with a line end",
    image(`data:image/png\r\nX: y;base64,${base64}`),
    422,
    ["invalid_image_url", "unsupported_image_media_type"],
  ],
  [
    "within a data URL",
    image(`data:image/png;base64,data:image/png;base64,${base64}`),
    422,
    "invalid_base64_image",
  ],
  ["after a space", image(` data:image/png;base64,${base64}`), 422, "invalid_image_url"],
  ["as a number", { prompt, images: [7] }, 422, "invalid_request"],
  [
    "with a type of its own that is none",
    { prompt, images: [{ data: base64, media_type: "image/gif" }] },
    422,
    "unsupported_image_media_type",
  ],
  [
    "65 of them",
    { prompt, images: many(65, () => `data:image/png;base64,${base64}`) },
    422,
    ["too_many_images", "invalid_request"],
  ],
];

const boundary = "b";
const form = (...fields: [name: string, value: string, more?: string][]) =>
  `${fields.map(([name, value, more = ""]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`).join("")}--${boundary}--\r\n`;
const formType = `multipart/form-data; boundary=${boundary}`;
const forms: Case[] = [
  ["a form", form(["prompt", "x"]), 202],
  ["without an end", form(["prompt", "x"]).slice(0, -6), 400, "invalid_multipart"],
  [
    "with another boundary",
    form(["prompt", "x"]).replaceAll("--b", "--c"),
    400,
    "invalid_multipart",
  ],
  ["of nothing", "", 400, "invalid_multipart"],
  [
    "of ten thousand parts",
    form(...many(10_000, (i): [string, string] => [`a${i}`, "x"])),
    422,
    "unknown_field",
  ],
  [
    "of ten thousand pictures",
    form(...many(10_000, (): [string, string, string] => ["image", "x", '; filename="a"'])),
    422,
    ["too_many_images", "invalid_request"],
  ],
  ["of the same field twice", form(["prompt", "x"], ["prompt", "y"]), 422, "invalid_request"],
  ["with __proto__", form(["prompt", "x"], ["__proto__", "y"]), 422, "unknown_field"],
  ["with a file for a prompt", form(["prompt", "x", '; filename="a"']), 422, "invalid_request"],
  ["with NUL", form(["prompt", "a\0b"]), 400, "invalid_multipart"],
  ["with options that are no JSON", form(["prompt", "x"], ["options", "{"]), 400, "invalid_json"],
  [
    "with options that are too deep",
    form(["prompt", "x"], ["options", repeat("[", 100)]),
    400,
    "invalid_json",
  ],
  [
    "with a part's header of 100 KB",
    form(["prompt", "x", `; a="${repeat("a", 100_000)}"`]),
    [202, 400, 422],
  ],
  [
    "with line ends in a file's name",
    form(["prompt", "x"], ["image", picture.toString("latin1"), '; filename="a\r\nX-Injected: y"']),
    [400, 422],
  ],
  ["within a form", form(["prompt", form(["prompt", "x"])]), [202, 400, 422]],
];

const compressed: Row = {
  id: "I28",
  name: "a compressed body",
  send: (target) => target.post("/v1/jobs", { prompt }, { "Content-Encoding": "gzip" }),
  status: 415,
  code: "unsupported_media_type",
};

export const encodedRows: Row[] = [
  ...rowsOf("I12", encodings),
  ...rowsOf("I13", dataUrls),
  ...rowsOf("I28", forms, formType),
  compressed,
];
