/** From a job's input, as the API left it, to a request to the engine: pictures are fetched, names translated. */
import type { JobInput, Options } from "@glimpse/contracts";
import type { GenerateRequest, Message, Part } from "@glimpse/engine";
import { EngineError } from "@glimpse/engine";
import type { Blobs } from "@glimpse/ledger";

type InputPart = Exclude<JobInput["messages"][number]["content"], string>[number];

/** @throws EngineError `invalid_image` when a picture is gone; what the store throws when it cannot be read. */
export async function requestOf(input: JobInput, blobs: Blobs): Promise<GenerateRequest> {
  const messages: Message[] = await Promise.all(
    input.messages.map(async ({ role, content }) => {
      if (typeof content === "string") return { role, content };
      return { role, content: await Promise.all(content.map((part) => loadPart(part, blobs))) };
    }),
  );
  return { messages, ...settingsOf(input.options) };
}

async function loadPart(part: InputPart, blobs: Blobs): Promise<Part> {
  if (part.type === "text") return part;
  const image = await blobs.get(part.digest);
  if (image === null) throw new EngineError("invalid_image", "The picture is no longer kept.");
  return { type: "image", image };
}

/** Contract names to engine names; what is missing stays missing, for the checkpoint's own defaults. */
function settingsOf(options: Options): Omit<GenerateRequest, "messages"> {
  const { max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, thinking } =
    options;
  const logprobs = options.logprobs === true ? (options.top_logprobs ?? 0) : undefined;
  const sampling = {
    temperature,
    topP: top_p,
    topK: top_k,
    repetitionPenalty: repetition_penalty,
    seed,
  };
  return {
    sampling: present(sampling),
    ...present({
      maxTokens: max_tokens,
      stop: typeof stop === "string" ? [stop] : stop,
      thinking,
      logprobs,
    }),
  };
}

/** Without the members that are undefined. */
function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as never;
}
