/** A prediction's stream, as Replicate's clients read it: plain text, and `done` at the end. */
import type { Job } from "@glimpse/contracts";
import { refusalOfEnd } from "../project.ts";
import type { Teller } from "../project.ts";

export function predictionTeller(job: Job): Teller {
  const begun = Date.parse(job.created_at);
  let number = 0;
  /** Each line of the text is a line of the event. */
  const frame = (event: string, text: string) => {
    const lines = text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
    return `id: ${begun}:${number++}\nevent: ${event}\n${lines.join("")}\n`;
  };
  const done = (reason?: string) => frame("done", JSON.stringify(reason ? { reason } : {}));
  const refuse: Teller["refuse"] = ({ message }) =>
    frame("error", JSON.stringify({ detail: message })) + done("error");
  return {
    begin: () => "",
    running: () => "",
    piece: (type, text) => (type === "delta" ? frame("output", text) : ""),
    end(event) {
      if (event.type === "succeeded") return done();
      if (event.type === "failed")
        return refuse(refusalOfEnd({ ...job, state: event.type, error: event.error }));
      return done("canceled");
    },
    refuse,
  };
}
