/**
 * The HTTP server in front of the app: how long and how much a connection may take, and the refusals that come before
 * the app sees a request. Knows sockets and Node's server; knows no route and no caller.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer as createHttpServer, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import type { Hono } from "hono";
import { ApiError } from "./api-error.ts";
import type { AppEnv } from "./errors.ts";
import { problemParts } from "./errors.ts";

export type ServerLimits = {
  /** How long a request's head may take to arrive, and the whole of it; answers are not meant. */
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  /** How long nothing may move on a connection: longer than any wait for an answer. */
  idleTimeoutMs: number;
  maxConnections: number;
};

const maxHeaderBytes = 16 * 1024;
/** Requests of one connection that may wait for answers: more come from no client that reads them. */
const maxPipelined = 32;
/** How late a timeout may be noticed. */
const checkMs = 1_000;

/** Not listening yet. */
export function createServer(app: Hono<AppEnv>, limits: ServerLimits): Server {
  const listener = getRequestListener((request, env) => app.fetch(request, env), {
    errorHandler(error) {
      // No Host or an odd one, a backslash in the path.
      const isRequest = error instanceof RequestError;
      const ours = new ApiError("internal_error", "Something went wrong on our side.");
      const { body, ...init } = partsOf(isRequest ? notHttp() : ours);
      return new Response(body, init);
    },
  });
  const options = {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: checkMs,
    maxHeaderSize: maxHeaderBytes,
    // Node's own refusal would have no body.
    requireHostHeader: false,
  };
  /** The answers that are being made, by connection: an error in the middle of one must not begin another. */
  const answers = new WeakMap<Socket, ServerResponse>();
  const waiting = new WeakMap<Socket, number>();
  const server = createHttpServer(options, (incoming, outgoing) => {
    const { socket } = incoming;
    const before = waiting.get(socket) ?? 0;
    if (before >= maxPipelined) return void socket.destroy();
    waiting.set(socket, before + 1);
    outgoing.once("close", () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
    answers.set(socket, outgoing);
    const refusal = refusalBeforeApp(incoming);
    if (refusal === null) return void listener(incoming, outgoing);
    refuse(outgoing, refusal);
  });
  server.maxConnections = limits.maxConnections;
  server.setTimeout(limits.idleTimeoutMs);

  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = answers.get(socket);
    const isAnswering = answer !== undefined && answer.headersSent && !answer.writableFinished;
    if (!socket.writable || isAnswering) socket.destroy();
    else socket.end(rawAnswer(refusalOfParser(error)), () => socket.destroy());
  });
  server.on("checkExpectation", (_incoming, outgoing: ServerResponse) => {
    const message = "Of all expectations only 100-continue can be met.";
    refuse(outgoing, new ApiError("expectation_failed", message));
  });
  return server;
}

/** A request that parses as HTTP, but that no client of ours sends. */
function refusalBeforeApp({ url, method, rawHeaders }: IncomingMessage) {
  // A proxy's form of request (GET http://other/), or OPTIONS *.
  if (!url?.startsWith("/"))
    return new ApiError("invalid_http", "The request's target must be a path.");
  if (method === "TRACE") return new ApiError("method_not_allowed", "TRACE is not possible here.");
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === "host") hosts++;
  }
  if (hosts !== 1) return new ApiError("invalid_http", "The request must have one Host header.");
  return null;
}

function refusalOfParser({ code }: NodeJS.ErrnoException): ApiError {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new ApiError("request_timeout", "The request did not arrive in time.");
    case "HPE_HEADER_OVERFLOW":
      return new ApiError("headers_too_large", `The headers exceed ${maxHeaderBytes} bytes.`);
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new ApiError("body_too_large", "The body's chunks have too large extensions.");
    default:
      return notHttp();
  }
}

function notHttp(): ApiError {
  return new ApiError("invalid_http", "The request cannot be read as HTTP/1.1.");
}

/** Outside the app there is no request id yet; nosniff is what of the app's headers matters to a JSON body. */
function partsOf(refusal: ApiError) {
  const id = randomUUID();
  const { status, headers, body } = problemParts(refusal, id);
  const more = { "X-Request-Id": id, "X-Content-Type-Options": "nosniff", Connection: "close" };
  return { status, body, headers: { ...headers, ...more } };
}

function refuse(outgoing: ServerResponse, refusal: ApiError): void {
  const { status, headers, body } = partsOf(refusal);
  outgoing.writeHead(status, headers).end(body);
}

function rawAnswer(refusal: ApiError): string {
  const { status, headers, body } = partsOf(refusal);
  const all = { ...headers, "Content-Length": String(Buffer.byteLength(body)) };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`;
}
