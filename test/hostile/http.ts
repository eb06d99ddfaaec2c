/** HTTP itself: what a socket can be sent that an honest client never sends (I26, I28, I29, I38). */
import type { Answer, Part, Row } from "./rows.ts";

const host = "Host: 127.0.0.1";
const json = "Content-Type: application/json";
const body = '{"prompt":"smuggled?"}';
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
/** What would be a request of its own if the server lost count. */
const second = `GET /healthz HTTP/1.1\r\n${host}\r\n\r\n`;

const maxBodyBytes = 200_000;

/** A request by its lines; the head's last line end is added. */
const head = (...lines: string[]) => `${lines.join("\r\n")}\r\n\r\n`;
const get = (...lines: string[]) => head("GET /healthz HTTP/1.1", ...lines);
const post = (...lines: string[]) => head("POST /v1/jobs HTTP/1.1", host, json, ...lines);

type Raw = [name: string, pieces: string | (string | Uint8Array)[], status?: number, code?: string];

const smuggled: Raw[] = [
  [
    "length and chunks",
    post(`Content-Length: ${chunked.length}`, "Transfer-Encoding: chunked") + chunked,
  ],
  ["chunks and length", post("Transfer-Encoding: chunked", "Content-Length: 4") + chunked + second],
  ["two lengths", post(`Content-Length: ${body.length}`, "Content-Length: 0") + body + second],
  [
    "the same length twice",
    post(`Content-Length: ${body.length}`, `Content-Length: ${body.length}`) + body,
  ],
  ["a list of lengths", post(`Content-Length: ${body.length}, ${body.length}`) + body],
  ["a negative length", post("Content-Length: -1") + body],
  ["a length with a sign", post(`Content-Length: +${body.length}`) + body],
  ["a length in hexadecimal", post("Content-Length: 0x16") + body],
  ["a length beyond 64 bits", post("Content-Length: 99999999999999999999999") + body],
  ["a length that is empty", post("Content-Length: ") + body],
  ["an unknown coding", post("Transfer-Encoding: xchunked") + chunked],
  ["chunks that are not the last coding", post("Transfer-Encoding: chunked, identity") + chunked],
  [
    "chunks within chunks",
    post("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunked,
  ],
  ["a space before the colon", post(`Content-Length : ${body.length}`) + body],
  ["a space before a name", post(` Content-Length: ${body.length}`) + body],
  ["a tab before the colon", post("Transfer-Encoding\t: chunked") + chunked],
  ["bare line feeds", `POST /v1/jobs HTTP/1.1\n${host}\nContent-Length: 0\n\n`],
  ["a bare carriage return", post("X-A: b\rContent-Length: 0")],
  ["a folded line", post("X-A: b", " c", "Content-Length: 0")],
  ["NUL in a header", post("X-A: b\0c", "Content-Length: 0")],
  ["a name with a bracket", post("X[A]: b", "Content-Length: 0")],
  ["a line without a colon", post("nonsense", "Content-Length: 0")],
  ["a line without a name", post(": nonsense", "Content-Length: 0")],
  ["a chunk longer than a number", post("Transfer-Encoding: chunked") + "fffffffffffffffff\r\n"],
  ["a negative chunk", post("Transfer-Encoding: chunked") + "-1\r\nx\r\n0\r\n\r\n"],
  ["a chunk of no number", post("Transfer-Encoding: chunked") + "zz\r\nx\r\n0\r\n\r\n"],
  ["a chunk without its end", post("Transfer-Encoding: chunked") + "1\r\nxx\r\n0\r\n\r\n"],
  ["a chunk after a bare line feed", post("Transfer-Encoding: chunked") + "1\nx\n0\n\n"],
];

const targets: Raw[] = [
  ["another host's address", get(host).replace("/healthz", "http://evil.example/healthz")],
  ["one's own address", get(host).replace("/healthz", "http://127.0.0.1/healthz")],
  ["a file's address", get(host).replace("/healthz", "file:///etc/passwd")],
  ["all of it", head("OPTIONS * HTTP/1.1", host)],
  ["TRACE", head("TRACE /healthz HTTP/1.1", host), 405, "method_not_allowed"],
  ["TRACE of nothing", head("TRACE /nothing HTTP/1.1", host), 405, "method_not_allowed"],
  ["a tunnel", head("CONNECT 127.0.0.1:22 HTTP/1.1", host), 0],
  ["a method in small letters", get(host).replace("GET", "get")],
  ["a method of nobody", get(host).replace("GET", "FROB")],
  ["TRACK", get(host).replace("GET", "TRACK")],
  ["PROPFIND", get(host).replace("GET", "PROPFIND"), 405, "method_not_allowed"],
  ["a query as a method", get(host).replace("GET", "QUERY"), 405, "method_not_allowed"],
  ["HTTP/0.9", "GET /healthz\r\n\r\n"],
  ["HTTP/1.2", get(host).replace("1.1", "1.2")],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["HTTP of a future", get(host).replace("HTTP/1.1", "HTTP/11.1")],
  ["another protocol", get(host).replace("HTTP/1.1", "HTTPS/1.1")],
  ["a backslash in the path", get(host).replace("/healthz", "/\\healthz")],
  ["a space in the path", get(host).replace("/healthz", "/health z")],
  ["NUL in the path", get(host).replace("/healthz", "/health\0z")],
  ["a path as UTF-8", get(host).replace("/healthz", "/gesünd")],
  ["a path that is no UTF-8", [Buffer.from(get(host).replace("lth", "l\xff"), "latin1")]],
  ["half an escape in the path", get(host).replace("/healthz", "/%zz%"), 404, "not_found"],
  ["no host", get()],
  ["no host in HTTP/1.0", get().replace("1.1", "1.0")],
  ["two hosts", get(host, "Host: evil.example")],
  ["a host with a space", get("Host: a b")],
  ["a host with a path", get("Host: evil.example/x")],
  ["a host with a user", get("Host: a@evil.example")],
  ["a host with a bad port", get("Host: evil.example:99999")],
  ["an empty host", get("Host: ")],
  ["a host of a query", get("Host: evil.example?x=")],
  ["TLS", [Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03)]],
  ["Redis", "*1\r\n$4\r\nPING\r\n"],
  ["noise", [new Uint8Array(4_096).map((_, i) => (i * 197) & 255)]],
];

const sizes: Raw[] = [
  ["a header of 20 KB", get(host, `X-A: ${"a".repeat(20_000)}`), 431, "headers_too_large"],
  [
    "3,000 headers",
    get(host, ...Array.from({ length: 3_000 }, (_, i) => `X-${i}: a`)),
    431,
    "headers_too_large",
  ],
  ["a path of 20 KB", get(host).replace("/h", `/${"h".repeat(20_000)}`), 431, "headers_too_large"],
  [
    "a chunk's extension of 20 KB",
    post("Transfer-Encoding: chunked") + `1;${"a".repeat(20_000)}\r\nx\r\n0\r\n\r\n`,
    413,
    "body_too_large",
  ],
  [
    "a trailer of 20 KB",
    post("Transfer-Encoding: chunked") + `0\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`,
    431,
    "headers_too_large",
  ],
  ["a declared body of 10 GB", post("Content-Length: 10000000000"), 413, "body_too_large"],
  [
    "a declared body of 10 GB, asked for first",
    post("Content-Length: 10000000000", "Expect: 100-continue"),
    413,
    "body_too_large",
  ],
  [
    "a body in chunks without an end",
    [
      post("Transfer-Encoding: chunked"),
      ...Array.from({ length: 5 }, () => `10000\r\n${"x".repeat(0x10000)}\r\n`),
    ],
    413,
    "body_too_large",
  ],
  [
    "an expectation of nobody",
    post("Expect: 200-ok", "Content-Length: 0"),
    417,
    "expectation_failed",
  ],
];

const raw = (id: Row["id"], rows: Raw[]): Row[] =>
  rows.map(([name, pieces, status = 400, code = "invalid_http"]) => ({
    id,
    name,
    send: (target) => target.raw(...[pieces].flat()),
    status,
    code: code as NonNullable<Row["code"]>,
  }));

/** Honest things that look odd; without them, a server that refuses everything would pass. */
const honest: Row[] = [
  ["a request", get(host, "Connection: close")],
  ["a request with an empty line before it", `\r\n${get(host, "Connection: close")}`],
  ["a request for another protocol", get(host, "Connection: Upgrade, close", "Upgrade: h2c")],
  [
    "a request with a body that nobody reads",
    get(host, "Connection: close", "Content-Length: 3") + "abc",
  ],
  ["a request in single bytes", get(host, "Connection: close").split("")],
].map(([name, pieces]) => ({
  id: "I29",
  name: name as string,
  send: (target) => target.raw(...[pieces as string | string[]].flat()),
  status: 200,
}));

const noForeignHeader = ({ headers }: Answer) =>
  headers.get("x-injected") === null ? null : "a header was injected";

/** What must not come back as it came, or end up where lines have a meaning. */
const injected: Row[] = [
  ...["a b", "<script>", "x".repeat(300), "ä", "a;b", "${jndi:x}"].map((id): Row => ({
    id: "I26",
    name: `the request id ${id.slice(0, 12)}`,
    send: (target) =>
      target.raw(Buffer.from(get(host, `X-Request-Id: ${id}`, "Connection: close"), "latin1")),
    status: 200,
    check: ({ headers }) =>
      /^[0-9a-f-]{36}$/.test(headers.get("x-request-id") ?? "") ? null : "took the client's id",
  })),
  {
    id: "I26",
    name: "a request id that is safe",
    send: (target) => target.request("/healthz", { headers: { "X-Request-Id": "order-17_a=" } }),
    status: 200,
    check: ({ headers }) =>
      headers.get("x-request-id") === "order-17_a=" ? null : "did not take the client's id",
  },
  {
    id: "I26",
    name: "line ends in the path",
    send: (target) => target.request("/v1/nothing%0d%0aX-Injected:%20a"),
    status: 404,
    code: "not_found",
    check: noForeignHeader,
  },
  {
    id: "I26",
    name: "line ends in a job's id",
    send: (target) => target.request("/v1/jobs/job_0_%0d%0aX-Injected:%20a"),
    status: 404,
    code: "job_not_found",
    check: noForeignHeader,
  },
  ...["-2", "1e9x", "0\u{1f600}", "9".repeat(400), "0, 0", "' OR 1=1"].map((after): Row => ({
    id: "I26",
    name: `events after ${after.slice(0, 12)}`,
    send: (target) =>
      target.request(`/v1/jobs/job_0_${"0".repeat(32)}/events?after=${encodeURIComponent(after)}`),
    status: 422,
    code: "invalid_request",
  })),
];

const secret = "forged-line-of-log";
/** Everything a client names that may be logged. */
const logged: Row[] = [
  {
    id: "I38",
    name: "line ends in a model's name",
    send: (target) =>
      target.post("/v1/jobs", { prompt: "x", model: `a\n{"level":"info","msg":"${secret}"}` }),
    status: 404,
    code: "model_not_found",
  },
  {
    id: "I38",
    name: "line ends in a key",
    send: (target) =>
      target.raw(post(`Idempotency-Key: "a\\n${secret}"`, "Content-Length: 2") + "{}"),
    status: [400, 422],
    code: ["invalid_idempotency_key", "invalid_request"],
  },
  {
    id: "I38",
    name: "a terminal's escapes in a path",
    send: (target) => target.request(`/v1/%1b%5b2J%0a${secret}`),
    status: 404,
    code: "not_found",
  },
];

export const http: Part = {
  name: "http",
  prepare: () => ({
    env: { MAX_BODY_BYTES: String(maxBodyBytes) },
    rows: [
      ...honest,
      ...raw("I29", smuggled),
      ...raw("I29", targets),
      ...raw("I28", sizes),
      ...injected,
      ...logged,
    ],
    findings: (log) =>
      log
        .filter(({ msg, level }) => msg === secret || level === undefined)
        .map((line) => `the log has a line that is none: ${JSON.stringify(line)}`),
  }),
};
