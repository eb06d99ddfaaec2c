/** Tells probes how the fleet's workers are: `/healthz` (200 unless one of them is broken) and `/ready` (200 if one takes jobs). */
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { WorkerState } from "./fleet.ts";

/** Listens on all addresses, since probes come from outside. Says nothing that is secret. */
export function serveHealth(port: number, read: () => WorkerState[]): Server {
  const server = createServer((request, response) => {
    const workers = read();
    const isFine = {
      "/healthz": !workers.some(({ state }) => state === "broken"),
      "/ready": workers.some(({ state }) => state === "ready"),
    }[request.url ?? ""];
    if (isFine === undefined) return void response.writeHead(404).end();
    response.writeHead(isFine ? 200 : 503, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ workers }));
  });
  return server.listen(port);
}
