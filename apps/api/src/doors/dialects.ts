/** The languages that requests for jobs come in, each as a function to our own. Knows no HTTP: it runs in the intake's thread, too. */
import type { Asked, Dialect } from "@glimpse/contracts";
import type { FieldNames } from "./field-names.ts";
import { readBatchLine } from "./openai-batch/read.ts";
import { readChat, readResponses } from "./openai/read.ts";
import { readModelPrediction, readPrediction } from "./replicate/read.ts";

/** A body of ours, still to be validated; what its door needs in order to answer; what the request calls our fields, if otherwise. */
export type Translated = { said: unknown; asked?: Asked; namesOf?: FieldNames };

/** They throw ApiErrors. */
export const dialects: Record<Dialect, (body: unknown) => Translated> = {
  native: (body) => ({ said: body }),
  "openai.chat": readChat,
  "openai.responses": readResponses,
  replicate: readPrediction,
  "replicate.model": readModelPrediction,
  "openai.batch": readBatchLine,
};
