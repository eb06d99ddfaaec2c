/** From a batch's lines to requests of the OpenAI door. Knows no HTTP and no job: it runs in the intake's thread, too. */
import { batchLine } from "@glimpse/contracts";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import { validate } from "../../validate.ts";
import type { Translated } from "../dialects.ts";
import { readChat, readResponses } from "../openai/read.ts";

const goingOn = z.object({ previous_response_id: z.string() });

/** A line is a chat or a response in the background. Throws ApiErrors. */
export function readBatchLine(value: unknown): Translated {
  const { url, body, custom_id } = validate(batchLine, value);
  const isResponse = url === "/v1/responses";
  if (isResponse && goingOn.safeParse(body).success) {
    const message = "A line of a batch goes on from nothing.";
    throw new ApiError("unsupported_parameter", message, "previous_response_id");
  }
  const { asked, ...rest } = isResponse ? readResponses(body) : readChat(body);
  if (asked === undefined) return rest;
  return { ...rest, asked: { ...asked, stream: false, background: true, customId: custom_id } };
}
