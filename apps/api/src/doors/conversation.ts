/** What a question that goes on from an earlier answer is preceded by. Knows jobs; knows no vendor's words. */
import type { Asked } from "@glimpse/contracts";
import type { Ledger } from "@glimpse/ledger";
import { ApiError } from "../api-error.ts";
import type { TakenIn } from "../intake.ts";
import { jobOf } from "./project.ts";

const isInstructed = (asked: Asked | null | undefined) => asked?.echo["instructions"] != null;

/**
 * Puts what was said before in front of the question; earlier instructions are not. `member` of the request names the job that it
 * goes on from, if it does, with the door's own `prefix`. Throws ApiError `job_not_found`.
 */
export async function goOn(
  ledger: Pick<Ledger, "readAsked" | "readInput">,
  tenant: string,
  taken: TakenIn,
  member: string,
  prefix: string,
): Promise<TakenIn> {
  const name = taken.asked?.echo[member];
  if (typeof name !== "string") return taken;
  const id = jobOf(prefix, name) ?? "";
  const [said, before] = await Promise.all([
    ledger.readAsked(id, tenant),
    ledger.readInput(id, tenant),
  ]);
  const text = said?.job.output?.text;
  if (before === null || text === undefined)
    throw new ApiError("job_not_found", "There is no answer of that name to go on from.", member);
  const earlier = before.messages.slice(isInstructed(said?.asked) ? 1 : 0);
  const { messages } = taken.input;
  const first = isInstructed(taken.asked) ? messages.slice(0, 1) : [];
  const answer = { role: "assistant" as const, content: text };
  const all = [...first, ...earlier, answer, ...messages.slice(first.length)];
  return { ...taken, input: { ...taken.input, messages: all } };
}
