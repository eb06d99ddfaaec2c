/** Requests that come again: idempotency keys, and ids that clients choose (I31). */
import { randomUUID } from "node:crypto";
import type { Answer, Part, Row, Target } from "./rows.ts";

const body = { prompt: "Once?" };
const submit = (target: Target, key: string, what: object = body) =>
  target.post("/v1/jobs", what, { "Idempotency-Key": key });
const idOf = ({ body: text }: Answer) => (JSON.parse(text) as { id?: string }).id;

/** A key that cannot be one; sent raw where no client would send it. */
const badKeys = [
  "",
  "x".repeat(256),
  "x".repeat(10_000),
  "a b",
  '"',
  '"a',
  '""',
  '"a"b',
  "a\tb",
  "ä",
];

const keys = badKeys.map((key): Row => ({
  id: "I31",
  name: `the key ${JSON.stringify(key).slice(0, 20)}`,
  send: (target) =>
    target.raw(
      Buffer.from(
        `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${JSON.stringify(body).length}\r\nIdempotency-Key: ${key}\r\n\r\n${JSON.stringify(body)}`,
        "latin1",
      ),
    ),
  status: 400,
  code: "invalid_idempotency_key",
}));

const again: Row[] = [
  {
    id: "I31",
    name: "another body under the same key",
    async send(target) {
      const key = randomUUID();
      await submit(target, key);
      return submit(target, key, { prompt: "Twice?" });
    },
    status: 422,
    code: "idempotency_conflict",
  },
  {
    id: "I31",
    name: "the same body under the same key, bare and quoted, thirty times at once",
    async send(target) {
      const key = randomUUID();
      const keysOf = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? key : `"${key}"`));
      const answers = await Promise.all(keysOf.map((one) => submit(target, one)));
      const ids = new Set(answers.map(idOf));
      if (ids.size !== 1) throw new Error(`made ${ids.size} jobs`);
      return answers.find(({ status }) => status !== 202) ?? (answers[0] as Answer);
    },
    status: 202,
  },
  {
    id: "I31",
    name: "different bodies under the same key, thirty at once",
    async send(target) {
      const key = randomUUID();
      const bodies = Array.from({ length: 30 }, (_, i) => ({ prompt: `${i}?` }));
      const answers = await Promise.all(bodies.map((one) => submit(target, key, one)));
      const taken = answers.filter(({ status }) => status === 202);
      if (taken.length !== 1) throw new Error(`took ${taken.length} bodies`);
      return answers.find(({ status }) => status !== 202) as Answer;
    },
    status: 422,
    code: "idempotency_conflict",
  },
  {
    id: "I31",
    name: "no key: every request is a job",
    async send(target) {
      const [first, second] = [
        await target.post("/v1/jobs", body),
        await target.post("/v1/jobs", body),
      ];
      if (idOf(first) === idOf(second)) throw new Error("made one job of two requests");
      return second;
    },
    status: 202,
  },
  ...["job_0_x", `job_1_${"0".repeat(32)}`, `job_0_${"A".repeat(32)}`, "__proto__", "job_0_*"].map(
    (id): Row => ({
      id: "I31",
      name: `the id ${id.slice(0, 12)}`,
      send: (target) =>
        target.request(`/v1/jobs/${encodeURIComponent(id)}`, {
          method: "PUT",
          body: JSON.stringify(body),
          headers: { "Content-Type": "application/json" },
        }),
      status: 422,
      code: "invalid_request",
    }),
  ),
];

export const retries: Part = { name: "retries", prepare: () => ({ rows: [...keys, ...again] }) };
