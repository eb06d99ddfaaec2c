/**
 * From a body's bytes to a checked submission: all that takes long for many megabytes and needs nothing but the bytes.
 * Knows neither Redis nor the server, so that it runs in a thread as well as in place.
 */
import type {
  Asked,
  Dialect,
  KeptWebhook,
  Metadata,
  Options,
  Priority,
  Submission,
} from "@glimpse/contracts";
import { keepWebhook, submission } from "@glimpse/contracts";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import { dialects } from "./doors/dialects.ts";
import type { FieldNames } from "./doors/field-names.ts";
import { parseJson } from "./json.ts";
import type { Picture } from "./picture.ts";
import { checkPicture, readBase64, readImageUrl } from "./picture.ts";
import { validate } from "./validate.ts";

const maxTextLength = 1_000_000;

/** Those of a form's fields that are not plain text. */
const jsonFields = new Set(["options", "metadata", "deadline_ms", "webhook"]);

export type BodyPart = { type: "text"; text: string } | { type: "image"; picture: Picture };
export type ParsedBody = {
  model: string | null;
  messages: { role: "system" | "user" | "assistant"; content: string | BodyPart[] }[];
  options: Options;
  metadata: Metadata;
  priority?: Priority;
  deadlineMs?: number;
  asked?: Asked;
  webhook?: KeptWebhook;
};

/** Throws ApiErrors only. */
export async function parseBody(
  bytes: Uint8Array<ArrayBuffer>,
  contentType: string,
  limits: Limits,
  dialect: Dialect = "native",
): Promise<ParsedBody> {
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType === "application/json") {
    const { said, asked, namesOf = (field) => field } = dialects[dialect](parseJson(bytes));
    try {
      const body = validate(submission, said);
      const images = (body.images ?? []).map((image, i) => () => {
        const param = `images.${i}`;
        if (typeof image === "string") return readImageUrl(image, limits, param);
        return readBase64(image.data, image.media_type, limits, param);
      });
      return { ...(await assemble(body, images, limits, namesOf)), ...(asked && { asked }) };
    } catch (error) {
      throw error instanceof ApiError ? renamed(error, namesOf) : error;
    }
  }
  if (mediaType === "multipart/form-data" && dialect === "native") {
    const { fields, files } = await readForm(bytes, contentType);
    const body = validate(submission, fields);
    const images = files.map((file, i) => async () => {
      return checkPicture(new Uint8Array(await file.arrayBuffer()), limits, `image.${i}`);
    });
    return assemble(body, images, limits);
  }
  const form = dialect === "native" ? " or multipart/form-data" : "";
  throw new ApiError("unsupported_media_type", `Send application/json${form}.`);
}

/** The refusal in the words of the request, which its message may begin with. */
function renamed(error: ApiError, namesOf: FieldNames): ApiError {
  const { code, message, param } = error;
  const name = param === null ? null : namesOf(param);
  if (param === null || name === null || name === param) return error;
  return new ApiError(
    code,
    message.replace(param, () => name),
    name,
  );
}

/** Reads the pictures one after the other, and puts each into its place among the messages. */
async function assemble(
  body: Submission,
  images: (() => Promise<Picture>)[],
  limits: Limits,
  namesOf: FieldNames = (field) => field,
): Promise<ParsedBody> {
  const messages = messagesOf(body, images.length);
  checkSize(messages, images.length, limits);
  const waiting = images.values();
  const content = async (
    part: NonNullable<MessageContent>[number],
    param: string,
  ): Promise<BodyPart> => {
    if (part.type === "text") return part;
    if (part.type === "image_url") {
      // A picture that is yet to be fetched keeps the name for later.
      const name = namesOf(`${param}.image_url.url`);
      return { type: "image", picture: await readImageUrl(part.image_url.url, limits, name) };
    }
    const read = waiting.next().value;
    if (read === undefined)
      throw new ApiError("invalid_request", "There are more image parts than images.", param);
    return { type: "image", picture: await read() };
  };
  const parsed: ParsedBody["messages"] = [];
  for (const [i, message] of messages.entries()) {
    if (typeof message.content === "string") {
      parsed.push({ role: message.role, content: message.content });
      continue;
    }
    const parts: BodyPart[] = [];
    for (const [j, part] of message.content.entries())
      parts.push(await content(part, `messages.${i}.content.${j}`));
    parsed.push({ role: message.role, content: parts });
  }
  if (waiting.next().value !== undefined) {
    throw new ApiError(
      "invalid_request",
      "There are more images than image parts in the messages.",
      "images",
    );
  }
  return {
    model: body.model ?? null,
    messages: parsed,
    options: body.options ?? {},
    metadata: body.metadata ?? {},
    ...(body.priority !== undefined && { priority: body.priority }),
    ...(body.deadline_ms !== undefined && { deadlineMs: body.deadline_ms }),
    ...(body.webhook !== undefined && { webhook: keepWebhook(body.webhook) }),
  };
}

type Messages = NonNullable<Submission["messages"]>;
type MessageContent = Exclude<Messages[number]["content"], string>;

/** A prompt is one message of the user: the pictures, then the text. */
function messagesOf(body: Submission, images: number): Messages {
  if (body.messages !== undefined) return body.messages;
  const text = body.prompt ?? "";
  if (images === 0) return [{ role: "user", content: text }];
  const parts = Array.from({ length: images }, () => ({ type: "image" as const }));
  return [{ role: "user", content: [...parts, { type: "text", text }] }];
}

function checkSize(messages: Messages, images: number, limits: Limits): void {
  const parts = messages.flatMap(({ content }) =>
    typeof content === "string" ? [{ type: "text" as const, text: content }] : content,
  );
  const textLength = parts.reduce(
    (sum, part) => sum + (part.type === "text" ? part.text.length : 0),
    0,
  );
  if (textLength > maxTextLength) {
    const message = `The text has ${textLength} characters; at most ${maxTextLength} are taken.`;
    throw new ApiError("context_too_long", message, "messages");
  }
  const pictures =
    Math.max(images, parts.filter(({ type }) => type === "image").length) +
    parts.filter(({ type }) => type === "image_url").length;
  if (pictures > limits.images) {
    const message = `There are ${pictures} pictures; at most ${limits.images} are taken.`;
    throw new ApiError("too_many_images", message, "images");
  }
}

/** A form's text fields as the members of a submission, and its pictures. */
async function readForm(
  bytes: Uint8Array<ArrayBuffer>,
  contentType: string,
): Promise<{ fields: Record<string, unknown>; files: File[] }> {
  let form: FormData;
  try {
    form = await new Response(bytes, { headers: { "Content-Type": contentType } }).formData();
  } catch {
    throw new ApiError("invalid_multipart", "The body is not a valid multipart form.");
  }
  const fields = new Map<string, unknown>();
  const files: File[] = [];
  for (const [name, value] of form) {
    if (name === "image") {
      if (typeof value === "string")
        throw new ApiError("invalid_request", "image must be a file.", name);
      files.push(value);
      continue;
    }
    if (typeof value !== "string")
      throw new ApiError("invalid_request", `${name} must not be a file.`, name);
    if (fields.has(name)) throw new ApiError("invalid_request", `${name} is given twice.`, name);
    const isJson = jsonFields.has(name);
    fields.set(name, isJson ? parseJson(new TextEncoder().encode(value), name) : value);
  }
  return { fields: Object.fromEntries(fields), files };
}
