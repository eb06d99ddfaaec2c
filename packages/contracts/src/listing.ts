/** Which of one's jobs to list, and the list. */
import { z } from "zod";
import { job, jobState, metadata } from "./jobs.ts";

const moment = z.iso.datetime({ offset: true });

/** A list's query, with `metadata[name]=value` gathered into `metadata`. All conditions must hold. */
export const jobQuery = z.strictObject({
  state: z.array(jobState).min(1).max(16).optional().meta({ description: "Any of these" }),
  created_after: moment.optional(),
  created_before: moment.optional(),
  metadata: metadata.optional().meta({ description: "All of these, as metadata[name]=value" }),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().optional().meta({ description: "The next_cursor of the page before" }),
});
export type JobQuery = z.infer<typeof jobQuery>;

export const jobList = z
  .object({
    object: z.literal("list"),
    data: z.array(job).meta({
      description: "Newest first; with filters a page can be shorter than the limit, even empty",
    }),
    next_cursor: z.string().nullable().meta({ description: "Null at the end of the list" }),
  })
  .meta({ id: "JobList" });
export type JobList = z.infer<typeof jobList>;
