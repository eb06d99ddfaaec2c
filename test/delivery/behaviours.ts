/** How receivers behave, and what is to become of a webhook to each: five tries, a second for each answer. */
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Delivery } from "@glimpse/contracts";
import type { Behaviour } from "../support/sink.ts";

/** What the delivery log is to say; `statuses` of the tries in order, null where there was no answer. */
type Expected = {
  state: Delivery["state"];
  reason?: string;
  statuses: (number | null)[];
  /** Of the last failed try. */
  error?: string;
  /** How long after the first try the second is to come at the earliest. */
  secondAfterMs?: number;
};

/** `url`: where else than to a path of the sink, whose own URL it is given. */
export type Case = {
  name: string;
  behave?: Behaviour;
  url?: (sink: string) => string;
  expected: Expected;
};

const tries = 5;
const timeoutMs = 1_000;

/** What is asked of the courier: its schedule, and how soon it leaves off. */
export const courierEnv = {
  WEBHOOK_SCHEDULE: "0,50ms,100ms,200ms,400ms",
  WEBHOOK_TIMEOUT_MS: String(timeoutMs),
  WEBHOOK_BREAKER_MS: "100",
  WEBHOOK_BREAKER_MAX_MS: "500",
  WEBHOOK_MAX_BYTES: "4000",
  OUTBOUND_ALLOW: "127.0.0.1",
  OUTBOUND_PORTS: "any",
};

const status =
  (code: number, headers: Record<string, string> = {}, body = ""): Behaviour =>
  (answer) =>
    void answer.writeHead(code, headers).end(body);

/** One behaviour for the first tries, then success. */
const until =
  (nth: number, behaviour: Behaviour): Behaviour =>
  (answer, n) =>
    n < nth ? behaviour(answer, n) : void answer.writeHead(200).end("ok");

const hang: Behaviour = () => {};
const reset: Behaviour = (answer) => void answer.socket?.resetAndDestroy();

/** Writes until nobody reads any more. */
const pour =
  (chunk: string, everyMs: number): Behaviour =>
  (answer) => {
    async function* chunks() {
      for (;;) {
        yield chunk;
        if (everyMs > 0) await sleep(everyMs);
      }
    }
    Readable.from(chunks())
      .on("error", () => {})
      .pipe(answer.writeHead(200));
  };

const raw =
  (text: string): Behaviour =>
  (answer) =>
    void answer.socket?.end(text);

const repeat = (what: number | null, times = tries) => Array<number | null>(times).fill(what);
const delivered = (...statuses: (number | null)[]): Expected => ({ state: "delivered", statuses });
const givenUp = (what: number | null, error: string): Expected => ({
  state: "dead",
  reason: "given_up",
  statuses: repeat(what),
  error,
});

export const cases: Case[] = [
  { name: "200", behave: status(200, {}, "thanks"), expected: delivered(200) },
  { name: "204 without a body", behave: status(204), expected: delivered(204) },
  {
    name: "slow, but in time",
    async behave(answer) {
      await sleep(timeoutMs / 2);
      answer.writeHead(202).end();
    },
    expected: delivered(202),
  },
  { name: "hangs", behave: hang, expected: givenUp(null, "late") },
  {
    name: "hangs once",
    behave: until(2, hang),
    expected: { ...delivered(null, 200), error: "late" },
  },
  { name: "always 500", behave: status(500), expected: givenUp(500, "bad_status") },
  {
    name: "works at the third try",
    behave: until(3, status(503)),
    expected: { ...delivered(503, 503, 200), error: "bad_status" },
  },
  {
    name: "429 with Retry-After in seconds",
    behave: until(2, status(429, { "retry-after": "1" })),
    expected: { ...delivered(429, 200), secondAfterMs: 1_000 },
  },
  {
    name: "503 with Retry-After as a date",
    behave: until(2, (answer) => {
      const at = new Date(Date.now() + 2_000).toUTCString();
      answer.writeHead(503, { "retry-after": at }).end();
    }),
    expected: { ...delivered(503, 200), secondAfterMs: 1_000 },
  },
  {
    name: "a Retry-After that says nothing",
    behave: until(2, status(503, { "retry-after": "soon" })),
    expected: delivered(503, 200),
  },
  {
    name: "301",
    behave: status(301, { location: "/never" }),
    expected: givenUp(301, "redirect"),
  },
  {
    name: "307",
    behave: status(307, { location: "/never" }),
    expected: givenUp(307, "redirect"),
  },
  {
    name: "302 once",
    behave: until(2, status(302, { location: "/never" })),
    expected: { ...delivered(302, 200), error: "redirect" },
  },
  {
    name: "410",
    behave: status(410),
    expected: { state: "dead", reason: "gone", statuses: [410] },
  },
  { name: "404", behave: status(404, {}, "<h1>no</h1>"), expected: givenUp(404, "bad_status") },
  {
    name: "no TLS where there should be",
    url: (sink) => sink.replace("http:", "https:"),
    expected: givenUp(null, "tls"),
  },
  {
    name: "drips its body",
    behave: pour("x", 50),
    expected: givenUp(null, "late"),
  },
  {
    name: "drips its headers",
    async behave({ socket }) {
      socket?.write("HTTP/1.1 200 OK\r\n");
      for (let i = 0; socket && !socket.destroyed; i++) {
        socket.write(`x-${i}: y\r\n`);
        await sleep(50);
      }
    },
    expected: givenUp(null, "late"),
  },
  {
    name: "a body without end",
    behave: pour("x".repeat(65_536), 0),
    expected: delivered(200),
  },
  {
    name: "headers without end",
    behave: raw(`HTTP/1.1 200 OK\r\n${"x: ".padEnd(100_000, "y")}\r\n\r\n`),
    expected: givenUp(null, "bad_answer"),
  },
  { name: "no HTTP", behave: raw("220 mail ready\r\n"), expected: givenUp(null, "bad_answer") },
  { name: "resets at once", behave: reset, expected: givenUp(null, "unreachable") },
  {
    name: "resets in the middle of its answer",
    behave(answer) {
      answer.writeHead(200, { "content-length": "100" }).write("half");
      setTimeout(() => answer.socket?.resetAndDestroy(), 20);
    },
    expected: givenUp(null, "unreachable"),
  },
  {
    name: "nobody listens",
    url: () => "http://127.0.0.1:1/",
    expected: givenUp(null, "unreachable"),
  },
  {
    name: "a name that nobody has",
    url: () => "http://nobody.invalid/",
    expected: givenUp(null, "unreachable"),
  },
];
