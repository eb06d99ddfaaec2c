/** From Replicate's requests to ours. Knows no HTTP and no job: it runs in the intake's thread, too. */
import type { PredictionEcho, PredictionRequest } from "@glimpse/contracts";
import { modelPredictionRequest, predictionRequest } from "@glimpse/contracts";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import { uploaded } from "../../picture.ts";
import { validate } from "../../validate.ts";
import type { Translated } from "../dialects.ts";
import { imagePart, present } from "../shapes.ts";

/** What the client sends in place of its input when it is told to put files into data URLs: itself, with the caller's key. */
const ownClient = z.looseObject({
  input: z.looseObject({ auth: z.unknown(), fileEncodingStrategy: z.unknown() }),
});

const names = { start: "job.running", output: "job.delta" } as const;
const ends = ["job.succeeded", "job.failed", "job.canceled", "job.expired"] as const;

/** Of `POST /predictions`, where the body names the version. Throws ApiErrors. */
export function readPrediction(body: unknown): Translated {
  return translate(validate(predictionRequest, checked(body)));
}

/** Of `POST /models/:owner/:name/predictions`. Throws ApiErrors. */
export function readModelPrediction(body: unknown): Translated {
  return translate(validate(modelPredictionRequest, checked(body)));
}

function checked(body: unknown): unknown {
  const isClient =
    ownClient.safeParse(body).data?.input.auth !== undefined &&
    ownClient.safeParse(body).data?.input.fileEncodingStrategy !== undefined;
  if (!isClient) return body;
  throw new ApiError(
    "invalid_request",
    'This is the client itself, with its key, in place of the input: a defect of replicate 1.4 with fileEncodingStrategy "data-uri". Leave that option out.',
    "input",
  );
}

function translate(request: PredictionRequest): Translated {
  const { input, version, webhook, webhook_events_filter: filter, ...rest } = request;
  const { priority, metadata, deadline_ms } = rest;
  const events = eventsOf(filter);
  return {
    said: {
      ...present({ model: version && modelOf(version), priority, metadata, deadline_ms }),
      ...questionOf(input),
      // Who wants to hear of logs only hears nothing: there are none.
      ...(webhook !== undefined &&
        events.length > 0 && { webhook: { url: webhook, payload: "full", events } }),
    },
    asked: {
      door: "replicate",
      stream: false,
      background: true,
      includeUsage: false,
      echo: {
        input: shortened(input),
        ...present({ webhook, webhook_events_filter: filter }),
      } satisfies PredictionEcho,
    },
  };
}

function questionOf(input: PredictionRequest["input"]) {
  const { prompt, messages, system_prompt, image, image_input = [], images = [], ...rest } = input;
  const { max_new_tokens, max_completion_tokens, stop, stop_sequences, ...options } = rest;
  const pictures = [...(image === undefined ? [] : [image]), ...image_input, ...images];
  const parts = pictures.map((url) => imagePart(known(url)));
  const question = { role: "user", content: [...parts, { type: "text", text: prompt ?? "" }] };
  // With messages, pictures fill their image parts, as in our own API; a prompt beside them is refused there.
  const asked =
    messages === undefined
      ? { messages: [question] }
      : { messages, images: pictures.map(known), ...present({ prompt }) };
  if (asked.messages === messages && system_prompt !== undefined) {
    const message = "The system's words are one of the messages.";
    throw new ApiError("invalid_request", message, "input.system_prompt");
  }
  const system = system_prompt ? [{ role: "system", content: system_prompt }] : [];
  return {
    ...asked,
    messages: [...system, ...asked.messages],
    options: present({
      ...options,
      max_tokens: options.max_tokens ?? max_new_tokens ?? max_completion_tokens,
      stop: stopsOf(stop ?? stop_sequences),
    }),
  };
}

/** A file that was uploaded before goes by its id, wherever its address points by now. */
function known(url: string): string {
  const id = /^https?:\/\/[^/]+\/replicate\/v1\/files\/(file-[0-9a-f]{32})$/.exec(url)?.[1];
  return id === undefined ? url : `${uploaded}${id}`;
}

/** Other models take several in one text, set apart by commas. */
function stopsOf(stops: string | string[] | undefined): string[] | undefined {
  const all = typeof stops === "string" ? stops.split(",") : stops;
  const said = all?.filter((stop) => stop !== "");
  return said?.length ? said : undefined;
}

/** `owner/name:version`, `owner/name` or a version by itself. */
function modelOf(version: string): string {
  return version.replace(/^[^/]*\//, "").replace(/^[^:]*:/, "");
}

function eventsOf(filter: PredictionRequest["webhook_events_filter"]): string[] {
  const wanted = filter ?? ["start", "output", "logs", "completed"];
  return wanted.flatMap((name) => {
    if (name === "completed") return ends;
    return name === "logs" ? [] : [names[name]];
  });
}

/** What is repeated in each answer: pictures are not. */
function shortened(input: PredictionRequest["input"]): Record<string, unknown> {
  const json = JSON.stringify(input, (_name, value: unknown) =>
    typeof value === "string" && /^data:/i.test(value)
      ? `${value.slice(0, value.indexOf(",") + 1)}...`
      : value,
  );
  return z.record(z.string(), z.unknown()).parse(JSON.parse(json));
}
