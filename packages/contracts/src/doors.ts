/** What a job keeps of the request that came through a door, so that the door can answer in the request's own terms. */
import { z } from "zod";

/** The languages that requests for jobs come in. */
export const dialect = z.enum([
  "native",
  "openai.chat",
  "openai.responses",
  "openai.batch",
  "replicate",
  "replicate.model",
]);
export type Dialect = z.infer<typeof dialect>;

/** Loose, since a later release's doors keep more. */
export const asked = z.looseObject({
  door: z.string(),
  stream: z.boolean().default(false),
  /** The job goes on when its client has gone. */
  background: z.boolean().default(false),
  /** A stream ends with what the answer has cost. */
  includeUsage: z.boolean().default(false),
  /** Where its client reached the API, such as `https://host`. */
  origin: z.string().optional(),
  /** What a batch's client calls its line. */
  customId: z.string().optional(),
  /** Members of the answer that only repeat the request. */
  echo: z.record(z.string(), z.unknown()).default({}),
});
export type Asked = z.infer<typeof asked>;
