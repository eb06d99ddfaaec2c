/** What the bodies of several doors have in common. Knows no HTTP and no job: it runs in the intake's thread, too. */
import type { Problem } from "@glimpse/contracts";
import { problemOf } from "@glimpse/contracts";
import type { ApiError } from "../api-error.ts";

/** Without the members that say nothing. */
export function present(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value != null));
}

/** A text among a message's parts, as our own submissions have it. */
export function textPart(text: string) {
  return { type: "text" as const, text };
}

/** A picture among a message's parts, as our own submissions have it. */
export function imagePart(url: string) {
  return { type: "image_url" as const, image_url: { url } };
}

/** The refusal as an object; in answers it is part of the one error body. */
export function errorOf({ code, message, param }: ApiError): Problem["error"] {
  return problemOf(code, message, param, "").error;
}

/** The refusal where an event stream breaks off. */
export function errorFrame(error: ApiError): string {
  return `data: ${JSON.stringify({ error: errorOf(error) })}\n\n`;
}

/** A page of things. */
export function listOf<T extends { id: string }>(data: T[], has_more: boolean) {
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  return { object: "list", data, ...ends, has_more };
}

/** Unix time in whole seconds, of milliseconds or of a time such as 2026-01-31T12:00:00Z. */
export function seconds(time: number | string): number {
  return Math.floor((typeof time === "string" ? Date.parse(time) : time) / 1_000);
}
