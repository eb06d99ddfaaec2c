/** Every place that takes a URL to be fetched by us. A new one is a line here, and meets all that ssrf.ts knows. */
import type { ErrorCode } from "@glimpse/contracts";
import type { Answer, Target } from "./rows.ts";

export type UrlTaker = {
  name: string;
  send(target: Target, url: string): Promise<Answer>;
  /** How it answers when the URL is fetched, when it may not be, and when nothing is there. */
  fine: number;
  refused: ErrorCode;
  unreachable: ErrorCode;
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
];
