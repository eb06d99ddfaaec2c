/** Listeners inside, which nobody may ever reach: they count every TCP connection, whatever it says. Not for production. */
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";

export type Canaries = {
  /** The same on all of them. */
  port: number;
  /** Where they listen: this machine's IPv4 and, if it has it, IPv6. */
  addresses: string[];
  /** The address of each connection so far. */
  touched: string[];
  close(): void;
};

/** Listens on 127.0.0.1 and ::1, at one free port. */
export async function startCanaries(): Promise<Canaries> {
  const touched: string[] = [];
  const servers: Server[] = [];
  const listen = (address: string, port: number) =>
    new Promise<number>((resolve, reject) => {
      const server = createServer((socket) => {
        touched.push(address);
        socket.destroy();
      });
      servers.push(server);
      server.once("error", reject);
      server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
    });
  const port = await listen("127.0.0.1", 0);
  const hasIpv6 = await listen("::1", port).then(
    () => true,
    () => false,
  );
  return {
    port,
    addresses: hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"],
    touched,
    close: () => servers.forEach((server) => server.close()),
  };
}
