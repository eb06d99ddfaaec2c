/** The children's half of children.ts: counts jobs and answers the parent. */
import type { Ask } from "./children.ts";

/** Call `ready` once jobs are taken, `began` and `ended` for each job. */
export function createAnswering() {
  let starts: number[] = [];
  let ended = 0;
  let awaited = Number.POSITIVE_INFINITY;

  function tellWhenEnded(): void {
    if (ended < awaited) return;
    ended -= awaited;
    awaited = Number.POSITIVE_INFINITY;
    process.send?.("ended");
  }

  process.on("message", (question: Ask) => {
    if (question.ask === "starts") {
      process.send?.(starts);
      starts = [];
    } else {
      awaited = question.jobs;
      tellWhenEnded();
    }
  });
  return {
    ready: () => process.send?.("ready"),
    began: () => void starts.push(performance.timeOrigin + performance.now()),
    ended(): void {
      ended++;
      tellWhenEnded();
    },
  };
}
