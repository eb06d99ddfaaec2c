/** The service about itself. */
import { z } from "zod";
import { versionName } from "./jobs.ts";
import { loopDelay, workerBeat } from "./work.ts";

export const models = z
  .object({
    object: z.literal("list"),
    data: z.array(
      z.object({
        id: z.string(),
        object: z.literal("model"),
        created: z.int().meta({ description: "Of no meaning; some clients want it" }),
        owned_by: z.string(),
        versions: z.array(z.object({ id: z.string(), workers: z.int(), slots: z.int() })),
      }),
    ),
  })
  .meta({ id: "Models" });

export const health = z
  .object({ status: z.literal("ok"), event_loop_delay_ms: loopDelay })
  .meta({ id: "Health" });

/** Whether new jobs of a version are accepted: `open` refuses them, `half_open` tries one now and then. */
export const breakerState = z.enum(["closed", "half_open", "open"]);
export type BreakerState = z.infer<typeof breakerState>;

export const readiness = z
  .object({
    ready: z.boolean(),
    missing: z.array(z.enum(["redis", "worker"])),
    workers: z.array(workerBeat),
    breakers: z.record(versionName, breakerState),
  })
  .meta({ id: "Readiness" });
