/** The service about itself. */
import { z } from "zod";

export const models = z
  .object({
    object: z.literal("list"),
    data: z.array(
      z.object({
        id: z.string(),
        object: z.literal("model"),
        versions: z.array(z.object({ id: z.string(), workers: z.int(), slots: z.int() })),
      }),
    ),
  })
  .meta({ id: "Models" });

const delay = z
  .object({ p50: z.number(), p99: z.number(), max: z.number() })
  .meta({ description: "Over the last ten seconds" });

export const health = z
  .object({ status: z.literal("ok"), event_loop_delay_ms: delay })
  .meta({ id: "Health" });

export const readiness = z
  .object({
    ready: z.boolean(),
    missing: z.array(z.enum(["redis", "worker"])),
    workers: z.array(
      z.object({
        id: z.string(),
        model: z.string(),
        version: z.string(),
        slots: z.int(),
        running: z.int(),
        event_loop_delay_ms: delay,
      }),
    ),
  })
  .meta({ id: "Readiness" });
