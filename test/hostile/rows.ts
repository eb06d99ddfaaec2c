/**
 * What hostile input is here: a row says what is sent and what alone is right as an answer. Parts are rows that need
 * the same system. Knows nothing of how systems are started (run.ts), and rows know nothing of each other.
 */
import type { ErrorCode } from "@glimpse/contracts";
import { problem } from "@glimpse/contracts";

export type Answer = {
  /** 0 when the connection was closed without an answer. */
  status: number;
  headers: Headers;
  body: string;
};

/** Where a row sends things. */
export type Target = {
  /** http://127.0.0.1:port, without a slash at its end. */
  url: string;
  port: number;
  /** Ordinary HTTP; the path may be a whole URL. */
  request(path: string, init?: RequestInit): Promise<Answer>;
  /** POST of JSON: a value, or the body's text or bytes as they are. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** These bytes on a connection of their own, until it is closed or an answer is whole. */
  raw(...pieces: (string | Uint8Array)[]): Promise<Answer>;
  /** The same, and after `first` this piece again and again. */
  slow(first: string, piece: string, everyMs: number): Promise<Answer>;
  /** Sends and reads nothing; resolves when the server has closed the connection. */
  unread(bytes: string): Promise<Answer>;
};

export type Row = {
  /** The line of the matrix of bad input that it belongs to, I1 to I40. */
  id: `I${number}`;
  name: string;
  send(target: Target): Promise<Answer>;
  /** One of these statuses (0: the connection closed without an answer), and where there is a body one of these codes. */
  status: number | number[];
  code?: ErrorCode | ErrorCode[];
  /** What else is wrong with the answer; null if nothing. */
  check?(answer: Answer): string | null;
};

export type Size = {
  /** Small is for every run of the tests, a few seconds a part; full is for `pnpm test:hostile`. */
  size: "small" | "full";
  seed: number;
  /** How many random variants, where a part has them. */
  mutations: number;
};

/** What a part has started for itself, and what it says when its rows are through. */
export type Stage = {
  /** On top of the environment of the API. */
  env?: Record<string, string>;
  rows: Row[];
  /** How many rows may be under way together; one, if it does not say so. */
  atOnce?: number;
  /** Told before the rows: the processes that now run. */
  started?(pids: { api: number; worker: number }): void | Promise<void>;
  /** Told after the rows, with the API's log: what is wrong that no single answer shows. */
  findings?(log: Record<string, unknown>[]): string[] | Promise<string[]>;
  close?(): void | Promise<void>;
};

export type Part = { name: string; prepare(size: Size): Stage | Promise<Stage> };

const list = <T>(one: T | T[] | undefined): T[] =>
  one === undefined ? [] : Array.isArray(one) ? one : [one];

/** Everything wrong with an answer: each complaint is one line. */
export function judge(row: Row, answer: Answer): string[] {
  const wrong: string[] = [];
  const statuses = list(row.status);
  const code = codeOf(answer);
  if (!statuses.includes(answer.status))
    wrong.push(`answered ${answer.status} ${code ?? ""}, not ${statuses.join(" or ")}`);
  const codes = list(row.code);
  if (codes.length > 0 && answer.status >= 400 && !codes.includes(code as ErrorCode))
    wrong.push(`code ${code}, not ${codes.join(" or ")}`);
  if (answer.status >= 500 && !statuses.includes(answer.status)) wrong.push("a 5xx");
  if (answer.status >= 400) wrong.push(...blemishes(answer));
  const more = row.check?.(answer);
  if (more != null) wrong.push(more);
  return wrong;
}

/** Of a refusal's body; null when it is none. */
function codeOf({ body }: Answer): string | null {
  return refusalOf(body)?.code ?? null;
}

function refusalOf(body: string) {
  try {
    return problem.parse(JSON.parse(body));
  } catch {
    return null;
  }
}

/** What our own words never hold: libraries, stacks, paths of the machine. */
const foreign =
  /\b(zod|ioredis|bullmq|undici|sharp|libvips|vips|hono|piscina|llhttp|HPE_|ECONN|ENOENT|ETIMEDOUT|EAI_AGAIN|ReplyError|TypeError|SyntaxError|RangeError|ZodError)\b|node_modules|file:\/\/\/|\/(root|home|usr|work)\/|^\s+at .+:\d+:\d+|Unexpected token/im;

/** A refusal has the one body, its request's id, and nothing of what it is made of. */
function blemishes({ headers, body }: Answer): string[] {
  const refusal = refusalOf(body);
  const leaked = foreign.exec(body)?.[0];
  const id = headers.get("x-request-id");
  return [
    ...(refusal === null ? [`no problem in the body: ${body.slice(0, 80)}`] : []),
    ...(refusal !== null && refusal.request_id !== id ? [`x-request-id is ${id}`] : []),
    ...(leaked === undefined ? [] : [`the body says ${leaked.trim()}`]),
  ];
}
