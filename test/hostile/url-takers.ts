/** Every place that takes a URL to be fetched by us. A new one is a line here, and meets all that ssrf.ts knows. */
import type { ErrorCode } from "@glimpse/contracts";
import { outsideAddress } from "./outside.ts";
import type { Answer, Target } from "./rows.ts";

export type UrlTaker = {
  name: string;
  send(target: Target, url: string): Promise<Answer>;
  /** How it answers when the URL is fetched, when it may not be, and when nothing is there: null if it is taken all the same. */
  fine: number | number[];
  refused: ErrorCode;
  unreachable: ErrorCode | null;
  /** What else is said of what lies behind the URL; null where nothing is fetched before the answer. */
  behind: ErrorCode[] | null;
};

const picture = {
  refused: "invalid_image_url",
  unreachable: "failed_to_download_image",
  behind: ["image_file_too_large", "unsupported_image_media_type"],
} satisfies Partial<UrlTaker>;
const options = { max_tokens: 1 };
const inPart = (url: string) => ({
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "?" },
        { type: "image_url", image_url: { url } },
      ],
    },
  ],
  options,
});
const inImages = (url: string) => ({ prompt: "?", images: [url], options });

/** Of a job: names come and go, so that one that nobody knows is taken, and judged again when there is something to tell. */
const webhook = { refused: "invalid_webhook_url", unreachable: null, behind: null } as const;
/** Of an endpoint: its host must be known. */
const endpoint = { ...webhook, unreachable: "invalid_webhook_url" } as const;
const told = (url: string) => ({ prompt: "?", options, webhook: { url } });

function formOf(members: Record<string, unknown>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(members))
    form.set(name, typeof value === "string" ? value : JSON.stringify(value));
  return form;
}

/** A tenant has few endpoints: each goes when it has answered. */
async function withEndpoint(
  target: Target,
  url: string,
  use: (created: Answer, path: string) => Answer | Promise<Answer>,
): Promise<Answer> {
  const created = await target.post("/v1/webhook-endpoints", { url });
  if (created.status !== 201) return created;
  const path = created.headers.get("location") ?? "";
  const answer = await use(created, path);
  await target.request(path, { method: "DELETE" });
  return answer;
}

const change = (target: Target, path: string, url: string) =>
  target.request(path, {
    method: "PATCH",
    body: JSON.stringify({ url }),
    headers: { "Content-Type": "application/json" },
  });

const openAi = { model: "nano", max_tokens: 1 };
/** Whether it has ended by then is a matter of luck. */
const predicted = [201, 202];
const predict = (target: Target, input: object, more: object = {}) =>
  target.post("/replicate/v1/predictions", {
    version: "nano",
    input: { ...input, ...options },
    ...more,
  });

export const urlTakers: UrlTaker[] = [
  {
    name: "jobs: a picture",
    send: (target, url) => target.post("/v1/jobs", inImages(url)),
    fine: 202,
    ...picture,
  },
  {
    name: "jobs: a part of a message",
    send: (target, url) => target.post("/v1/jobs", inPart(url)),
    fine: 202,
    ...picture,
  },
  {
    name: "infer: a picture",
    send: (target, url) => target.post("/v1/infer", inImages(url)),
    fine: 200,
    ...picture,
  },
  {
    name: "infer: a part of a message",
    send: (target, url) => target.post("/v1/infer", inPart(url)),
    fine: 200,
    ...picture,
  },
  {
    name: "chat: a picture",
    send: (target, url) =>
      target.post("/v1/chat/completions", { ...openAi, messages: inPart(url).messages }),
    fine: 200,
    ...picture,
  },
  {
    name: "responses: a picture",
    send: (target, url) =>
      target.post("/v1/responses", {
        model: "nano",
        max_output_tokens: 16,
        input: [{ role: "user", content: [{ type: "input_image", image_url: url }] }],
      }),
    fine: 200,
    ...picture,
  },
  {
    name: "predictions: image",
    send: (target, url) => predict(target, { prompt: "?", image: url }),
    fine: predicted,
    ...picture,
  },
  {
    name: "predictions: images",
    send: (target, url) => predict(target, { prompt: "?", images: [url] }),
    fine: predicted,
    ...picture,
  },
  {
    name: "predictions: image_input",
    send: (target, url) => predict(target, { prompt: "?", image_input: [url] }),
    fine: predicted,
    ...picture,
  },
  {
    name: "predictions: a webhook",
    send: (target, url) => predict(target, { prompt: "?" }, { webhook: url }),
    fine: predicted,
    ...webhook,
  },
  {
    name: "jobs: a webhook",
    send: (target, url) => target.post("/v1/jobs", told(url)),
    fine: 202,
    ...webhook,
  },
  {
    name: "infer: a webhook",
    send: (target, url) => target.post("/v1/infer", told(url)),
    fine: 200,
    ...webhook,
  },
  {
    name: "a form: a webhook",
    send: (target, url) => target.request("/v1/jobs", { method: "POST", body: formOf(told(url)) }),
    fine: 202,
    ...webhook,
  },
  {
    name: "endpoints: a new one",
    send: (target, url) => withEndpoint(target, url, (created) => created),
    fine: 201,
    ...endpoint,
  },
  {
    name: "endpoints: a change",
    send: (target, url) =>
      withEndpoint(target, `http://${outsideAddress}/`, (_, path) => change(target, path, url)),
    fine: 200,
    ...endpoint,
  },
];
