/** How rows reach the API: by an honest client's HTTP, and by bytes that no honest client would send. */
import type { Socket } from "node:net";
import { connect } from "node:net";
import type { Answer, Target } from "./rows.ts";

const limitMs = 15_000;

export function createTarget(url: string): Target {
  const port = Number(new URL(url).port);

  async function request(path: string, init: RequestInit = {}): Promise<Answer> {
    const target = path.startsWith("/") ? `${url}${path}` : path;
    try {
      const signal = AbortSignal.timeout(limitMs);
      const response = await fetch(target, { redirect: "manual", signal, ...init });
      return {
        status: response.status,
        headers: response.headers,
        body: await response.text(),
      };
    } catch (error) {
      if (error instanceof Error && error.name === "TimeoutError")
        throw new Error(`no answer within ${limitMs} ms`, { cause: error });
      return { status: 0, headers: new Headers(), body: "" };
    }
  }

  return {
    url,
    port,
    request,
    post(path, body, headers = {}) {
      const asIs = typeof body === "string" || body instanceof Uint8Array;
      return request(path, {
        method: "POST",
        body: asIs ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body),
        headers: { "Content-Type": "application/json", ...headers },
      });
    },
    async raw(...pieces) {
      const { socket, answer } = open(port);
      for (const piece of pieces) socket.write(piece);
      return answer;
    },
    async slow(first, piece, everyMs) {
      const { socket, answer } = open(port);
      if (first !== "") socket.write(first);
      const timer = setInterval(
        () => piece !== "" && socket.writable && socket.write(piece),
        everyMs,
      );
      return answer.finally(() => clearInterval(timer));
    },
    async unread(bytes) {
      const socket = connect(port, "127.0.0.1");
      socket.pause();
      // Only who writes learns of the end without reading.
      const timer = setInterval(() => socket.write("\r\n"), 200);
      const limit = setTimeout(() => socket.destroy(new Error("late")), limitMs);
      socket.write(bytes);
      const ended = await new Promise<Error | undefined>((resolve) => {
        socket.on("error", resolve);
        socket.on("close", () => resolve(undefined));
      });
      clearInterval(timer);
      clearTimeout(limit);
      socket.destroy();
      if (ended?.message === "late") throw new Error(`not closed within ${limitMs} ms`);
      return { status: 0, headers: new Headers(), body: "" };
    },
  };
}

/** A connection, and what will have been answered on it when its answer is whole or it is closed. */
function open(port: number): { socket: Socket; answer: Promise<Answer> } {
  const socket = connect(port, "127.0.0.1");
  const limit = setTimeout(() => socket.destroy(), limitMs);
  let received = Buffer.alloc(0);
  const answer = new Promise<void>((resolve) => {
    socket.on("data", (data: Buffer) => {
      received = Buffer.concat([received, data]);
      if (isWhole(received)) resolve();
    });
    socket.on("close", () => resolve());
    socket.on("error", () => resolve());
  }).then(() => {
    clearTimeout(limit);
    socket.destroy();
    return readAnswer(received);
  });
  return { socket, answer };
}

/** Whether an answer with a declared length has all of it. One that closes its connection, or has no length, ends with that. */
function isWhole(received: Buffer): boolean {
  const bytes = afterContinue(received);
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return false;
  const head = bytes.subarray(0, end).toString("latin1");
  if (/^connection: *close/im.test(head)) return false;
  if (/^HTTP\/1\.1 (204|304)/.test(head)) return true;
  if (/^transfer-encoding: *chunked/im.test(head)) return bytes.includes("\r\n0\r\n\r\n", end);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  return length !== undefined && bytes.length >= end + 4 + Number(length);
}

/** What follows a permission to go on (100), which is no answer. */
function afterContinue(bytes: Buffer): Buffer {
  const goOn = "HTTP/1.1 100 Continue\r\n\r\n";
  return bytes.toString("latin1", 0, goOn.length) === goOn ? bytes.subarray(goOn.length) : bytes;
}

function readAnswer(received: Buffer): Answer {
  const text = afterContinue(received).toString("utf8");
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const body = rest.join("\r\n\r\n");
  const isChunked = headers.get("transfer-encoding") === "chunked";
  return {
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1] ?? 0),
    headers,
    body: isChunked ? body.replaceAll(/^[0-9a-f]+\r\n|\r\n[0-9a-f]+\r\n(\r\n)?/gi, "") : body,
  };
}
