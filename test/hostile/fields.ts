/** JSON that is well written and says what cannot be: settings, contexts, fields that are not the client's (I17, I18, I37). */
import type { Case } from "./bodies.ts";
import { many, prompt, repeat, rowsOf } from "./bodies.ts";
import type { Row } from "./rows.ts";

const option = (name: string, value: unknown) => ({ prompt, options: { [name]: value } });

const settings: Case[] = [
  ...[-1, 1e9, "1", null, [0]].map((value): Case => [
    `temperature ${JSON.stringify(value)}`,
    option("temperature", value),
    422,
    "invalid_request",
  ]),
  ...[0, 2, -0.1, true].map((value): Case => [
    `top_p ${value}`,
    option("top_p", value),
    422,
    "invalid_request",
  ]),
  ...[0, -1, 1.5, 1e12, "all"].map((value): Case => [
    `max_tokens ${value}`,
    option("max_tokens", value),
    422,
    "invalid_request",
  ]),
  ...[-1, 0.5, 2 ** 60].map((value): Case => [
    `seed ${value}`,
    option("seed", value),
    422,
    "invalid_request",
  ]),
  ...[-1, 1e9].map((value): Case => [
    `top_k ${value}`,
    option("top_k", value),
    422,
    "invalid_request",
  ]),
  ...[0, -1, 11].map((value): Case => [
    `repetition_penalty ${value}`,
    option("repetition_penalty", value),
    422,
    "invalid_request",
  ]),
  ...[-1, 21, 1.5].map((top_logprobs): Case => [
    `top_logprobs ${top_logprobs}`,
    { prompt, options: { logprobs: true, top_logprobs } },
    422,
    "invalid_request",
  ]),
  ["top_logprobs of nothing", option("top_logprobs", 1), 422, "invalid_request"],
  ["n", option("n", 1_000_000), 422, "unknown_field"],
  ["logit_bias", option("logit_bias", {}), 422, "unknown_field"],
  ["1,000 stops", option("stop", many(1_000, String)), 422, "invalid_request"],
  ["a long stop", option("stop", repeat("a", 300)), 422, "invalid_request"],
  ["an empty stop", option("stop", ""), 422, "invalid_request"],
  ["a deadline of never", { prompt, deadline_ms: 0 }, 422, "invalid_request"],
  ["a deadline in a year", { prompt, deadline_ms: 31_536_000_000 }, 422, "invalid_request"],
  ["a priority of nobody", { prompt, priority: "highest" }, 422, "invalid_request"],
  [
    "17 entries of metadata",
    { prompt, metadata: Object.fromEntries(many(17, (i) => [i, "x"])) },
    422,
    "invalid_request",
  ],
  ["metadata in metadata", { prompt, metadata: { a: { b: "c" } } }, 422, "invalid_request"],
  ["a long model", { prompt, model: repeat("a", 200) }, 422, "invalid_request"],
  ["a model of a path", { prompt, model: "../../etc/passwd" }, 404, "model_not_found"],
  [
    "257 messages",
    { messages: many(257, () => ({ role: "user", content: "x" })) },
    422,
    "invalid_request",
  ],
  ["a message of a tool", { messages: [{ role: "tool", content: "x" }] }, 422, "invalid_request"],
  ["no parts", { messages: [{ role: "user", content: [] }] }, 422, "invalid_request"],
];

/** Fields that a client may see, and that are not its to set. */
const notTheirs: Case[] = [
  "id",
  "tenant",
  "state",
  "version",
  "output",
  "created_at",
  "attempt",
  "links",
  "usage",
  "queue",
  "standing",
  "chosenId",
  "digest",
].map((field): Case => [field, { prompt, [field]: "x" }, 422, "unknown_field"]);
const parts: Case[] = [
  [
    "a digest for a picture",
    { messages: [{ role: "user", content: [{ type: "image", digest: "0".repeat(64) }] }] },
    422,
    "unknown_field",
  ],
  [
    "a picture by its digest",
    {
      messages: [
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: "https://x.example/a", detail: "high" } },
          ],
        },
      ],
    },
    422,
    "unknown_field",
  ],
  [
    "a part of nobody",
    { messages: [{ role: "user", content: [{ type: "video" }] }] },
    422,
    "invalid_request",
  ],
];

/** More than the model can read, or than it may write. Only the model knows, so the answer is a job that has ended. */
const contexts: Row[] = [
  {
    id: "I17",
    name: "a prompt longer than the model's context",
    send: (target) => target.post("/v1/infer", { prompt: repeat("many words ", 20_000) }),
    status: 200,
    check: ({ body }) => (body.includes('"code":"context_too_long"') ? null : body.slice(0, 200)),
  },
  {
    id: "I17",
    name: "more tokens than the context has",
    send: (target) => target.post("/v1/infer", { prompt, options: { max_tokens: 1_000_000 } }),
    status: 200,
    check: ({ body }) => (body.includes('"code":"context_too_long"') ? null : body.slice(0, 200)),
  },
];

/** A condition that is dropped in silence would list everything. */
const condition: Row = {
  id: "I37",
  name: "__proto__ as a condition of a list",
  send: (target) => target.request("/v1/jobs?metadata[__proto__]=x"),
  status: 422,
  code: "invalid_request",
};

export const fieldRows: Row[] = [
  ...contexts,
  ...rowsOf("I18", settings),
  ...rowsOf("I37", [...notTheirs, ...parts]),
  condition,
];
