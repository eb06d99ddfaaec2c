/** Clients that take their time: heads, bodies and readers that are slow on purpose (I27). In full size by slowhttptest, too. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import type { Part, Row, Stage, Target } from "./rows.ts";

/** Short, so that a test need not wait for what production waits for; for a siege long enough that it comes to stand. */
const timeouts = {
  small: { HEADERS_TIMEOUT_MS: "500", REQUEST_TIMEOUT_MS: "800", IDLE_TIMEOUT_MS: "2500" },
  full: { HEADERS_TIMEOUT_MS: "5000", REQUEST_TIMEOUT_MS: "6000", IDLE_TIMEOUT_MS: "7000" },
};

const head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/** One connection that sends a piece every 100 ms until it is closed; what it was told last is its answer. */
const drip = (name: string, first: string, piece: string, status: number): Row => ({
  id: "I27",
  name,
  send: (target) => target.slow(first, piece, 100),
  status,
  ...(status > 0 && { code: "request_timeout" as const }),
});

const rows: Row[] = [
  drip("a connection on which nothing comes", "", "", 408),
  drip("a head that never ends", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n", 408),
  drip("a first line that never ends", "GET /", "a", 408),
  drip("a body in single bytes", `${head}Content-Length: 100000\r\n\r\n`, "x", 408),
  drip("a body that does not come", `${head}Content-Length: 100000\r\n\r\n`, "", 408),
  drip("a body in small chunks", `${head}Transfer-Encoding: chunked\r\n\r\n`, "1\r\nx\r\n", 408),
  {
    id: "I27",
    name: "answers that nobody reads",
    send: (target) =>
      target.unread("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2_000)),
    status: 0,
  },
];

const connections = 800;
const attackS = 12;
const common = ["-c", `${connections}`, "-r", "200", "-l", `${attackS}`, "-p", "3"];
/** slowhttptest's options: its manual page. */
const attacks: Record<string, (url: string) => string[]> = {
  headers: (url) => ["-H", "-i", "5", "-x", "24", "-u", `${url}/v1/models`],
  body: (url) => ["-B", "-i", "5", "-s", "8192", "-x", "10", "-u", `${url}/v1/jobs`],
  read: (url) => [
    "-X",
    "-w",
    "16",
    "-y",
    "64",
    "-n",
    "5",
    "-z",
    "32",
    "-k",
    "3",
    "-u",
    `${url}/openapi.json`,
  ],
};

/** Starts the attack and lets an honest client ask on, each time on a new connection, as long as it lasts. */
const siege = (name: string, options: (url: string) => string[]): Row => ({
  id: "I27",
  name: `slow ${name}, ${connections} connections of slowhttptest`,
  async send(target) {
    const attack = spawn("slowhttptest", [...common, ...options(target.url)], { stdio: "pipe" });
    let output = "";
    attack.stdout.on("data", (data: Buffer) => (output += data));
    const ended = once(attack, "close");
    let isOver = false;
    void ended.finally(() => (isOver = true)).catch(() => {});
    const waits: number[] = [];
    while (!isOver) {
      waits.push(await ask(target));
      await sleep(20);
    }
    await ended;
    const sorted = waits.toSorted((a, b) => a - b);
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
    const most = Math.max(
      0,
      ...[...stripVTControlCharacters(output).matchAll(/connected:\s*(\d+)/g)].map(([, n]) =>
        Number(n),
      ),
    );
    console.log(
      `  slow ${name}: ${most} at once; of ${waits.length} honest requests p99 ${Math.round(p99)} ms, max ${Math.round(sorted.at(-1) ?? 0)} ms`,
    );
    if (most < connections / 2) throw new Error(`the attack had only ${most} connections`);
    if (waits.length < 100) throw new Error(`only ${waits.length} honest requests`);
    if (!(p99 < 1_000)) throw new Error(`honest clients waited ${p99} ms (p99)`);
    return target.request("/healthz");
  },
  status: 200,
});

/** Milliseconds for an honest request; whoever is refused has waited for ever. */
async function ask({ url }: Target): Promise<number> {
  const started = performance.now();
  return new Promise((resolve) => {
    const request = get(`${url}/v1/models`, { agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      response.on("end", () =>
        resolve(response.statusCode === 200 ? performance.now() - started : Infinity),
      );
    });
    request.on("error", () => resolve(Infinity));
    request.on("timeout", () => request.destroy());
  });
}

async function has(program: string): Promise<boolean> {
  const child = spawn(program, ["-h"], { stdio: "ignore" });
  return new Promise((resolve) => {
    child.on("error", () => resolve(false));
    child.on("close", () => resolve(true));
  });
}

export const slow: Part = {
  name: "slow",
  async prepare({ size }): Promise<Stage> {
    const env = timeouts[size];
    if (size === "small") return { env, rows, atOnce: rows.length };
    if (await has("slowhttptest"))
      return {
        env,
        rows: [...rows, ...Object.entries(attacks).map(([name, options]) => siege(name, options))],
      };
    const missing =
      "slowhttptest is not installed (a package of Debian): its attacks were not made";
    return { env, rows, findings: () => [missing] };
  },
};
