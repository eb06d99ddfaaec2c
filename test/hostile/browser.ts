/** What a web page elsewhere can make a visitor's browser send: across origins (I39), and by a name that it points here (I40). */
import type { Answer, Part, Row, Target } from "./rows.ts";

const friend = "https://friend.example";
const publicName = "glimpse.example";

/** A request as browsers send it, line by line: fetch would set some of these headers itself. */
function send(target: Target, first: string, headers: Record<string, string>): Promise<Answer> {
  const body = first.startsWith("POST") ? "prompt=hello" : "";
  const all: Record<string, string> = {
    Host: `127.0.0.1:${target.port}`,
    Connection: "close",
    "Content-Type": "application/x-www-form-urlencoded",
    "Content-Length": String(body.length),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return target.raw(`${first} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
}

const evil = { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" };
const neighbour = { Origin: "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site" };
const own = { "Sec-Fetch-Site": "same-origin" };
const navigation = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" };

type Sent = [name: string, first: string, headers: Record<string, string>, status?: number];

const across: Sent[] = [
  ["a form", "POST /v1/jobs", evil],
  ["a form of another port's page", "POST /v1/jobs", neighbour],
  ["a form that replaces the page", "POST /v1/jobs", { ...evil, ...navigation }],
  ["a form without an origin", "POST /v1/jobs", { ...evil, Origin: "null" }],
  ["text that is JSON", "POST /v1/chat/completions", { ...evil, "Content-Type": "text/plain" }],
  ["a beacon to another door", "POST /replicate/v1/predictions", evil],
  ["a webhook of its own", "POST /v1/webhook-endpoints", evil],
  ["a question before the question", "OPTIONS /v1/jobs", evil],
  ["a key", "POST /v1/admin/keys", evil],
  ["a picture that is none", "GET /v1/jobs", { "Sec-Fetch-Site": "cross-site" }],
  ["a frame", "GET /v1/jobs", { ...evil, ...navigation, "Sec-Fetch-Dest": "iframe" }],
  ["a script", "GET /metrics", { ...evil, "Sec-Fetch-Dest": "script" }],
  ["a link that somebody follows", "GET /v1/jobs", { ...evil, ...navigation }, 200],
  ["our own page", "GET /v1/jobs", own, 200],
  ["a page that is named", "GET /v1/jobs", { ...evil, Origin: friend }, 200],
  ["what is public", "GET /openapi.json", evil, 200],
];

const names: Sent[] = [
  ...["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"].flatMap(
    (Host): Sent[] => [
      [`reading at ${Host}`, "GET /v1/jobs", { ...own, Host }],
      [`asking at ${Host}`, "POST /v1/jobs", { ...own, Host, Origin: `http://${Host}` }],
      [`the page at ${Host}`, "GET /", { ...own, Host }, 200],
    ],
  ),
  [
    "a name that another header excuses",
    "GET /v1/jobs",
    { Host: "evil.example", "X-Forwarded-Host": "localhost" },
  ],
  ...["localhost", "a.localhost:1", "[::1]", "192.168.1.5", publicName, `${publicName}:8443`].map(
    (Host): Sent => [`reading at ${Host}`, "GET /v1/jobs", { ...own, Host }, 200],
  ),
];

const rows = (id: Row["id"], all: Sent[]): Row[] =>
  all.map(([name, first, headers, status = 403]) => ({
    id,
    name,
    send: (target) => send(target, first, headers),
    status,
    ...(status === 403 && { code: "origin_not_allowed" as const }),
  }));

export const browser: Part = {
  name: "browser",
  prepare: () => ({
    env: { CORS_ORIGINS: friend, PUBLIC_URL: `https://${publicName}` },
    rows: [...rows("I39", across), ...rows("I40", names)],
  }),
};
