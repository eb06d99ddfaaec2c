/** Anything at any route of the OpenAPI document: whatever it is answered, it is our answer (no 5xx, one body, our own words). */
import { z } from "zod";
import type { Random } from "../support/random.ts";
import { createRandom } from "../support/random.ts";
import type { Part, Row, Target } from "./rows.ts";

const anyRefusalOrNot = [
  200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 410, 413, 415, 417, 422, 429, 431,
];

const valid = {
  prompt: "What?",
  model: "nano",
  messages: [{ role: "user", content: [{ type: "text", text: "x" }, { type: "image" }] }],
  images: ["data:image/png;base64,iVBORw0KGgo=", "https://127.0.0.1/a.png"],
  options: { max_tokens: 1, temperature: 0, stop: ["a"] },
  metadata: { a: "b" },
  priority: "low",
  deadline_ms: 1_000,
};

const odd = [
  null,
  true,
  -1,
  0,
  1e308,
  1.5,
  "",
  " ",
  "\ud800",
  "\0",
  "__proto__",
  "constructor",
  "../../etc/passwd",
  "<script>",
  "%00",
  "' OR '1'='1",
  "${7*7}",
  "{{7*7}}",
  "a".repeat(5_000),
  [],
  {},
  [[]],
  { a: { b: {} } },
  "NaN",
  "\r\nX: y",
  "💥",
  "job_0_00000000000000000000000000000000",
  "file:///etc/passwd",
  "http://[::1]/",
  "9".repeat(400),
];

const oddNames = odd.filter((value) => typeof value === "string");

/** The value with a few places of it replaced, doubled or left out. */
function bend(value: unknown, random: Random): unknown {
  if (random.chance(0.12)) return random.pick(odd);
  if (Array.isArray(value)) {
    const items: unknown[] = value.map((item) => bend(item, random));
    return random.chance(0.1) ? [...items, ...items, random.pick(odd)] : items;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(() => !random.chance(0.35));
    const bent = entries.map(([name, member]): [string, unknown] => [
      random.chance(0.05) ? random.pick(oddNames) : name,
      bend(member, random),
    ]);
    return Object.fromEntries(bent);
  }
  return value;
}

/** The text with some bytes of it changed, cut or written twice. */
function damage(text: string, random: Random): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from(Buffer.from(text));
  for (let n = random.between(1, 4); n > 0 && bytes.length > 0; n--)
    bytes[random.between(0, bytes.length - 1)] = random.between(0, 255);
  return random.chance(0.3) ? bytes.slice(0, random.between(0, bytes.length)) : bytes;
}

const document = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
const routesOf = new WeakMap<Target, Promise<string[]>>();

/** The paths that the API says it has, so that a new one is not forgotten. */
async function readPaths(target: Target): Promise<string[]> {
  const { body } = await target.request("/openapi.json");
  return Object.keys(document.parse(JSON.parse(body)).paths);
}

function row(i: number, random: Random): Row {
  return {
    id: "I37",
    name: `fuzz ${i}`,
    async send(target) {
      const paths = routesOf.get(target) ?? readPaths(target);
      routesOf.set(target, paths);
      const value = () => encodeURIComponent(random.pick(oddNames).toWellFormed());
      const path = random.pick(await paths).replaceAll(/\{\w+\}/g, value);
      // Waits and streams would take their time, and are asked for by name elsewhere.
      const query = random.chance(0.4)
        ? `?${random.pick(["limit", "state", "cursor", "after", "metadata[a]", "x"])}=${value()}`
        : "";
      const method = random.pick(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);
      const json = JSON.stringify(bend(valid, random)) ?? "";
      const body = random.chance(0.5) ? json : damage(json, random);
      const types = [
        "application/json",
        "application/json",
        "multipart/form-data; boundary=b",
        "text/plain",
        "",
      ];
      const keys = ["a", '"a"', "a b", ""];
      return target.request(`${path}${query}`, {
        method,
        headers: {
          "Content-Type": random.pick(types),
          ...(random.chance(0.2) && { "Idempotency-Key": random.pick(keys) }),
          ...(random.chance(0.2) && {
            "Last-Event-ID": random.pick(["-1", "x", "9999999999999999"]),
          }),
        },
        ...(method !== "GET" && { body }),
      });
    },
    status: anyRefusalOrNot,
    check: ({ headers }) => (headers.get("x-request-id") === null ? "no x-request-id" : null),
  };
}

export const fuzz: Part = {
  name: "fuzz",
  prepare: ({ size, seed, mutations }) => {
    const random = createRandom(seed);
    const count = size === "full" ? Math.max(mutations, 2_000) : 200;
    return { rows: Array.from({ length: count }, (_, i) => row(i, random)) };
  },
};
