/**
 * Stands in for the internet: a host that the API may reach (OUTBOUND_ALLOW), at an address of this machine that nobody
 * else uses. It has pictures, redirects to wherever its visitor asks, and every bad manner that servers have.
 */
import type { ServerResponse } from "node:http";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";
import { png } from "./pictures/files.ts";

export const outsideAddress = "127.0.0.77";

const picture = png({ width: 16, height: 16 });

/** Goes on for as long as anybody listens. */
function forever(response: ServerResponse, everyMs: number, write: () => void): void {
  const timer = setInterval(write, everyMs);
  response.on("close", () => clearInterval(timer));
}

/** What goes wrong once a host is reached. */
export const badManners: Record<string, (response: ServerResponse) => void> = {
  "/error": (response) => response.writeHead(500).end(picture),
  "/part": (response) => response.writeHead(206).end(picture),
  "/nothing": (response) => response.writeHead(204).end(),
  "/unchanged": (response) => response.writeHead(304).end(),
  "/page": (response) => response.writeHead(200, { "content-type": "image/png" }).end("<html>"),
  "/zip": (response) =>
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(50_000_000))),
  "/zips": (response) =>
    response.writeHead(200, { "content-encoding": "gzip, gzip, br, gzip" }).end(picture),
  "/short": (response) => {
    response.writeHead(200, { "content-length": "5000" }).write(picture);
    setTimeout(() => response.destroy(), 20);
  },
  "/large": (response) => response.writeHead(200, { "content-length": "99999999999" }).end(picture),
  "/endless": (response) => forever(response, 1, () => response.write(Buffer.alloc(500_000))),
  "/drip": (response) => forever(response, 50, () => response.write("x")),
  "/silent": () => {},
  "/garbage": (response) => response.socket?.end("SSH-2.0-OpenSSH_9.2\r\n"),
  "/headers": (response) =>
    response.socket?.end(`HTTP/1.1 200 OK\r\nX: ${"y".repeat(1_000_000)}\r\n\r\n`),
  "/slow-headers": (response) => {
    response.socket?.write("HTTP/1.1 200 OK\r\n");
    forever(response, 50, () => response.socket?.write("X: y\r\n"));
  },
  "/hints": (response) =>
    forever(response, 5, () => response.socket?.write("HTTP/1.1 103 Early Hints\r\n\r\n")),
  "/smuggled": (response) =>
    response.socket?.end(
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
};

/** Listens at the port of the canaries, so that only the address tells them apart. */
export async function startOutside(port: number) {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://outside");
    if (pathname === "/a.png") return response.end(picture);
    const bad = badManners[pathname];
    if (bad !== undefined) return bad(response);
    // What no header can hold goes as the bytes of its UTF-8, as browsers' servers do it.
    const location = Buffer.from(searchParams.get("to") ?? "")
      .toString("latin1")
      .replaceAll(/[^\t -~\x80-\xff]/g, "");
    return response.writeHead(Number(searchParams.get("status") ?? 302), { location }).end();
  });
  await new Promise<void>((resolve, reject) =>
    server.once("error", reject).listen(port, outsideAddress, resolve),
  );
  const origin = `http://${outsideAddress}:${port}`;
  return {
    origin,
    picture: `${origin}/a.png`,
    /** A URL that redirects to another one. */
    to: (location: string, status = 302) =>
      `${origin}/to?status=${status}&to=${encodeURIComponent(location)}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

export type Outside = Awaited<ReturnType<typeof startOutside>>;
