/** OpenAI's error object, in streams; elsewhere it is part of the one error body. */
import type { Problem } from "@glimpse/contracts";
import { problemOf } from "@glimpse/contracts";
import type { ApiError } from "../../api-error.ts";

export function errorOf({ code, message, param }: ApiError): Problem["error"] {
  return problemOf(code, message, param, "").error;
}
