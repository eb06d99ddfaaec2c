/** A job's log: numbered from 0, append-only. Everything a client sees is a projection of it. */
import { z } from "zod";
import { jobError } from "./errors.ts";
import { isTerminal, output, terminalState, timings, usage } from "./jobs.ts";

const common = {
  id: z.int().nonnegative().meta({ description: "The event's number in its job's log" }),
  at_ms: z.int().meta({ description: "Unix time in milliseconds" }),
};
const piece = { ...common, text: z.string() };
const start = { ...common, attempt: z.int() };

export const jobEvent = z
  .discriminatedUnion("type", [
    z.object({ type: z.literal("queued"), ...common }),
    z.object({ type: z.literal("running"), ...start }),
    z
      .object({ type: z.literal("reset"), ...start })
      .meta({ description: "A new attempt: all earlier pieces are void" }),
    z.object({ type: z.literal("reasoning"), ...piece }),
    z.object({ type: z.literal("delta"), ...piece }),
    z.object({
      type: terminalState,
      ...common,
      attempt: z.int(),
      output: output.nullable(),
      usage: usage.nullable(),
      timings,
      error: jobError.nullable(),
    }),
  ])
  .meta({ id: "JobEvent" });
export type JobEvent = z.infer<typeof jobEvent>;

/** An event as readers hand it on: kinds and fields of a later release are kept as they are. */
export const logEvent = z.looseObject({
  ...common,
  type: z.string().regex(/^[a-z][a-z0-9_.]*$/, "not the name of an event"),
});
export type LogEvent = z.infer<typeof logEvent>;

/** Whether this event ends its log. */
export function endsLog(event: { type: string }): boolean {
  return isTerminal(event.type);
}

/** Sent in place of events that the log no longer holds. */
export const gap = z
  .object({ type: z.literal("gap"), from: z.int(), to: z.int() })
  .meta({ id: "Gap", description: "Events `from` to `to` are no longer kept" });
export type Gap = z.infer<typeof gap>;
