import type { Job } from "@glimpse/contracts";
import { webhookMessage } from "@glimpse/contracts";
import { expect, test } from "vitest";
import { messageOf, piecesMessage } from "./message.ts";

const id = `job_0_${"a".repeat(32)}`;
const at = "2026-01-31T12:00:00.000Z";
const job: Job = {
  id,
  object: "job",
  state: "succeeded",
  model: "nano",
  version: "nano@1",
  created_at: at,
  started_at: at,
  finished_at: at,
  deadline_at: null,
  priority: "normal",
  queue: null,
  output: { text: "Yes.", reasoning: null, finish_reason: "stop" },
  usage: { prompt_tokens: 1, image_tokens: 0, completion_tokens: 1 },
  timings: { queue_ms: 1, first_token_ms: 2, total_ms: 3 },
  error: null,
  attempt: 1,
  reused: false,
  metadata: { order: "7" },
  links: {
    self: `/v1/jobs/${id}`,
    events: `/v1/jobs/${id}/events`,
    cancel: `/v1/jobs/${id}/cancel`,
  },
};
const news = { id, state: "succeeded", event: 5, job };
const read = (text: string) => webhookMessage.parse(JSON.parse(text));

test("a thin message has all but the answer, a full one the answer too", () => {
  const thin = read(messageOf(news, "thin", 20_000));
  expect(thin).toMatchObject({ type: "job.succeeded", timestamp: at, payload: "thin", event: 5 });
  expect(thin.data).toMatchObject({ id, state: "succeeded", metadata: { order: "7" } });
  expect(thin.data).not.toHaveProperty("output");
  expect(read(messageOf(news, "full", 20_000))).toMatchObject({
    payload: "full",
    data: { output: { text: "Yes." } },
  });
});

test("what does not fit is left out: the answer, then the metadata; bytes count, not characters", () => {
  const output = { text: "ä".repeat(800), reasoning: null, finish_reason: "stop" as const };
  const long = { ...news, job: { ...job, output } };
  expect(read(messageOf(long, "full", 2_800))).toMatchObject({ payload: "full" });
  const cut = messageOf(long, "full", 2_000);
  expect(read(cut)).toMatchObject({ payload: "thin", data: { metadata: { order: "7" } } });
  const wide = { ...news, job: { ...job, metadata: { order: "ä".repeat(512) } } };
  expect(read(messageOf(wide, "thin", 1_000)).data).not.toHaveProperty("metadata");
});

test("a message about the start does not tell of the end that has come meanwhile", () => {
  const { type, data } = read(messageOf({ ...news, state: "running", event: 1 }, "full", 20_000));
  expect(type).toBe("job.running");
  expect(data).toMatchObject({ id, state: "running" });
  for (const later of ["finished_at", "output", "usage", "timings"])
    expect(data).not.toHaveProperty(later);
});

test("a job that has been deleted is told of by its name", () => {
  const message = read(messageOf({ ...news, job: null }, "full", 20_000));
  expect(message).toMatchObject({ payload: "thin", data: { id, state: "succeeded" } });
});

test("pieces are joined, thinking and answer apart", () => {
  const events = [
    { id: 2, at_ms: 1, type: "reasoning", text: "Hm." },
    { id: 3, at_ms: 2, type: "delta", text: "Y" },
    { id: 4, at_ms: 3, type: "delta", text: "es" },
  ];
  expect(piecesMessage({ id, attempt: 2 }, { from: 2, to: 4 }, events)).toMatchObject({
    type: "job.delta",
    event: 4,
    data: { id, attempt: 2, from: 2, to: 4, text: "Yes", reasoning: "Hm." },
  });
});
