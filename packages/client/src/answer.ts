/** An answer as it grows, from a job's events. */
import type { Gap, JobEvent } from "@glimpse/contracts";

/** What a reader shows after these events: a new attempt voids what came before. */
export function textOf(events: (JobEvent | Gap)[]): string {
  let text = "";
  for (const event of events) {
    if (event.type === "reset") text = "";
    else if (event.type === "delta") text += event.text;
  }
  return text;
}
