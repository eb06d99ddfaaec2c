/**
 * Stands in for the internet: a host that the API may reach (OUTBOUND_ALLOW), at an address of this machine that nobody
 * else uses, with pictures and redirects to wherever its visitor asks.
 */
import { createServer } from "node:http";
import { png } from "./pictures/files.ts";

export const outsideAddress = "127.0.0.77";

/** Listens at the port of the canaries, so that only the address tells them apart. */
export async function startOutside(port: number) {
  const picture = png({ width: 16, height: 16 });
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://outside");
    if (pathname === "/a.png") return response.end(picture);
    const location = searchParams.get("to") ?? "";
    const status = Number(searchParams.get("status") ?? 302);
    // What no header can hold goes as the bytes of its UTF-8, as browsers' servers do it.
    const value = Buffer.from(location)
      .toString("latin1")
      .replaceAll(/[^\t -~\x80-\xff]/g, "");
    return response.writeHead(status, { location: value }).end();
  });
  await new Promise<void>((resolve, reject) =>
    server.once("error", reject).listen(port, outsideAddress, resolve),
  );
  const origin = `http://${outsideAddress}:${port}`;
  return {
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
