// The checker on histories written by hand: a right one has no findings, and each kind of wrong has its own.
import type { JobEvent } from "@glimpse/contracts";
import { expect, test } from "vitest";
import type { Entry, Stored } from "./checker.ts";
import { check } from "./checker.ts";

const timings = { queue_ms: 1, first_token_ms: 2, total_ms: 3 };
const log: JobEvent[] = [
  { id: 0, type: "queued", at_ms: 1 },
  { id: 1, type: "running", at_ms: 2, attempt: 1 },
  { id: 2, type: "delta", at_ms: 3, text: "lost " },
  { id: 3, type: "reset", at_ms: 4, attempt: 2 },
  { id: 4, type: "running", at_ms: 4, attempt: 2 },
  { id: 5, type: "delta", at_ms: 5, text: "yes" },
  {
    id: 6,
    type: "succeeded",
    at_ms: 6,
    attempt: 2,
    output: null,
    usage: null,
    timings,
    error: null,
  },
];
const job: Stored = { id: "a", key: "k", state: "succeeded", attempt: 2, text: "yes", log };
const history: Entry[] = [
  { type: "attempted", key: "k", text: "yes", ends: ["succeeded"] },
  { type: "acknowledged", key: "k", id: "a" },
  { type: "started", id: "a", attempt: 2 },
  { type: "committed", id: "a", attempt: 2, state: "succeeded" },
  { type: "delivered", id: "a", events: log },
];
const right = { lost: [], stuck: [], duplicated: [], unexpected: [], gaps: [] };
const without = (n: number) => log.filter(({ id }) => id !== n);
const commit = (attempt: number, state = "succeeded"): Entry => ({
  type: "committed",
  id: "a",
  attempt,
  state,
});
const delivered = (events: JobEvent[]): Entry => ({ type: "delivered", id: "a", events });

test("a right history has no findings", () => {
  expect(check(history, [job])).toEqual({ ...right, attempted: 1, acknowledged: 1, recovered: 0 });
});

test("a job that ran though its client was never told is recovered, not unexpected", () => {
  const untold = history.filter(({ type }) => type !== "acknowledged");
  expect(check(untold, [job])).toEqual({ ...right, attempted: 1, acknowledged: 0, recovered: 1 });
});

test.each<[string, keyof typeof right, Entry[], Stored[]]>([
  ["acknowledged, and not there", "lost", history.slice(0, 2), []],
  [
    "never ended",
    "stuck",
    history.slice(0, 2),
    [{ ...job, state: "running", log: log.slice(0, 6) }],
  ],
  ["two jobs of one key", "duplicated", history, [job, { ...job, id: "b" }]],
  ["two commits", "duplicated", [...history, commit(2)], [job]],
  ["two ends", "duplicated", history, [{ ...job, log: [...log, { ...log[6]!, id: 7 }] }]],
  ["a job of nobody", "unexpected", [], [job]],
  ["a wrong answer", "unexpected", history, [{ ...job, text: "no" }]],
  ["a wrong end", "unexpected", history, [{ ...job, state: "failed" }]],
  ["a commit that the ledger does not have", "unexpected", [...history, commit(1)], [job]],
  ["an event missing", "gaps", history, [{ ...job, log: without(2) }]],
  ["the end missing", "gaps", history, [{ ...job, log: without(6) }]],
  ["the beginning missing", "gaps", history, [{ ...job, log: without(0) }]],
  ["an event twice", "gaps", history, [{ ...job, log: [...log.slice(0, 3), ...log.slice(2)] }]],
  ["a start missing", "gaps", history, [{ ...job, attempt: 3 }]],
  ["a reader missed one", "gaps", [...history, delivered(without(5))], [job]],
  ["a reader got one twice", "gaps", [...history, delivered([log[0]!, ...log])], [job]],
  ["a reader was cut off", "gaps", [...history, delivered(log.slice(0, 3))], [job]],
])("%s", (_name, kind, entries, stored) => {
  expect(check(entries, stored)[kind]).not.toEqual([]);
});
