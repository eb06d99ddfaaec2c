/** Those who ask too often or hold too much, and say that they are somebody else (I28, I35). The test's machine plays the one proxy that is trusted. */
import { connect } from "node:net";
import type { Answer, Part, Row, Target } from "./rows.ts";

const shareBytes = 1_000_000;

const env = {
  TRUSTED_PROXIES: "1",
  MAX_BYTES_IN_FLIGHT: String(2 * shareBytes),
  MAX_BYTES_IN_FLIGHT_PER_KEY: String(shareBytes),
};

const submit = (target: Target, forwarded: string) =>
  target.post("/v1/jobs", { prompt: "Who?" }, { "X-Forwarded-For": forwarded });

/** Sixty at once; the answer of one that was refused, if one was. */
async function flood(target: Target, forwarded: (i: number) => string): Promise<Answer> {
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, i) => submit(target, forwarded(i))),
  );
  return answers.find(({ status }) => status !== 202) ?? answers[0]!;
}

/** Every refusal says when to come back, and by what rule. */
function lacksHeaders({ headers }: Answer): string | null {
  const missing = ["retry-after", "ratelimit", "ratelimit-policy"].filter(
    (name) => !headers.has(name),
  );
  return missing.length === 0 ? null : `without ${missing.join(", ")}`;
}

const disguises: [string, (i: number) => string][] = [
  ["the same address again and again", () => "8.8.8.1"],
  ["another address each time, left of the proxy's word", (i) => `1.2.3.${i}, 8.8.8.2`],
  ["a long way made up", (i) => `${"9.9.9.9, ".repeat(i)}8.8.8.3`],
  ["all of an IPv6 network", (i) => `2001:db8::${i.toString(16)}`],
  ["IPv4 in IPv6's clothes", (i) => (i % 2 === 0 ? "8.8.8.4" : "::ffff:8.8.8.4")],
  ["another port each time", (i) => `8.8.8.5:${1_000 + i}`],
  ["no addresses at all", (i) => `unknown-${i}`],
];

const spoofed = disguises.map(([name, forwarded]): Row => ({
  id: "I35",
  name: `a flood from ${name}`,
  send: (target) => flood(target, forwarded),
  status: 429,
  code: "rate_limited",
  check: lacksHeaders,
}));

const held: Row[] = [
  {
    id: "I35",
    name: "a neighbour of those who flood",
    async send(target) {
      await flood(target, () => "8.8.9.1");
      return submit(target, "8.8.9.2");
    },
    status: 202,
  },
  {
    id: "I28",
    name: "an honest body beside a hundred that are only promised",
    async send(target) {
      const promised = Array.from({ length: 100 }, () => {
        const socket = connect(target.port, "127.0.0.1").on("error", () => {});
        socket.write(
          `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 8.8.9.3\r\nContent-Type: application/json\r\nContent-Length: ${shareBytes}\r\n\r\n{`,
        );
        return socket;
      });
      const answer = await submit(target, "8.8.9.3, 8.8.9.4");
      for (const socket of promised) socket.destroy();
      return answer;
    },
    status: 202,
  },
  {
    id: "I28",
    name: "a body over the sender's share",
    send: (target) =>
      target.post("/v1/jobs", " ".repeat(shareBytes + 1), { "X-Forwarded-For": "8.8.9.5" }),
    status: 429,
    code: "too_many_bytes",
  },
  {
    id: "I28",
    name: "the same without saying how long it is",
    send(target) {
      const chunk = `${(10_000).toString(16)}\r\n${" ".repeat(10_000)}\r\n`;
      return target.raw(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 8.8.9.6\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk.repeat(shareBytes / 10_000 + 1),
      );
    },
    status: 429,
    code: "too_many_bytes",
  },
];

export const limits: Part = {
  name: "limits",
  prepare: () => ({ env, rows: [...spoofed, ...held] }),
};
