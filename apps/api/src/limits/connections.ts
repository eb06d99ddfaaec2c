/** How many connections an address may hold. Knows sockets; what is asked on them it never sees. */
import type { Server, Socket } from "node:net";
import { addressGroup } from "./client-address.ts";

/** Ends each new connection of an address that has `most` already. Returns how many are open. */
export function limitConnections(server: Server, most: number): () => number {
  const held = new Map<string, number>();
  let open = 0;
  server.on("connection", (socket: Socket) => {
    const address = addressGroup(socket.remoteAddress);
    const before = held.get(address) ?? 0;
    if (before >= most) {
      socket.destroy();
      return;
    }
    held.set(address, before + 1);
    open++;
    socket.once("close", () => {
      open--;
      const left = (held.get(address) ?? 1) - 1;
      if (left === 0) held.delete(address);
      else held.set(address, left);
    });
  });
  return () => open;
}
