/** A TCP proxy on a port of its own that breaks the line in the ways a network does. */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

type Line = { client: Socket; server: Socket; silent: boolean; swallowing: boolean };

/** Ends it by RST. One that is being shut down cannot be reset, and Node would never close it. */
function cut(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** Starts a proxy to `toPort` of this machine; it passes everything on until told otherwise. */
export async function startProxy(toPort: number) {
  let targetPort = toPort;
  const lines = new Set<Line>();
  const silentEnds = new Set<Socket>();
  let listener: Server | undefined;
  let latencyMs = 0;
  let silentForNew = false;
  let losesReplyTo: (request: string) => boolean = () => false;

  /** Passes bytes on in their order, each after the latency of its time. */
  function pass(line: Line, from: Socket, to: Socket, isReply: boolean): void {
    let before = Promise.resolve();
    const forward = (data: Buffer) => {
      if (line.silent || to.destroyed) return;
      if (isReply && line.swallowing) cut(line.client);
      else to.write(data);
    };
    from.on("data", (data: Buffer) => {
      if (!isReply && losesReplyTo(data.toString("latin1"))) line.swallowing = true;
      if (latencyMs === 0) return void before.then(() => forward(data));
      before = Promise.all([before, sleep(latencyMs)]).then(() => forward(data));
    });
    from.on("error", () => {}); // "close" follows
    from.on("close", () => {
      lines.delete(line);
      // A line that has gone silent does not even tell that its other end is gone.
      if (line.silent) silentEnds.add(to);
      else void before.then(() => to.destroy());
    });
  }

  function onConnection(client: Socket): void {
    const server = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    client.setNoDelay(true);
    // While nobody listens there, TCP may connect a socket to itself, and would keep the port from its owner.
    server.once("connect", () => server.localPort === targetPort && server.destroy());
    const line = { client, server, silent: silentForNew, swallowing: false };
    lines.add(line);
    pass(line, client, server, false);
    pass(line, server, client, true);
  }

  async function listen(at: number): Promise<number> {
    const opened = createServer(onConnection);
    await new Promise<void>((resolve, reject) => {
      opened.once("error", reject).listen(at, "127.0.0.1", resolve);
    });
    listener = opened;
    return (opened.address() as AddressInfo).port;
  }

  function reset(): void {
    for (const { client, server } of lines) {
      cut(client);
      server.destroy();
    }
    lines.clear();
  }

  const port = await listen(0);
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    /** Resets every line; new ones are accepted. */
    reset,
    /** Resets every line and refuses new ones until `heal`. */
    refuse(): void {
      listener?.close();
      listener = undefined;
      reset();
    },
    /** Resets every line; new ones lead to another port. */
    redirect(port: number): void {
      targetPort = port;
      reset();
    },
    /** From now on nothing passes on the present lines, and nobody is told; with `newToo` on later ones neither. */
    silence({ newToo = false } = {}): void {
      for (const line of lines) line.silent = true;
      silentForNew = newToo;
    },
    /** Each way takes this much longer. */
    delay(ms: number): void {
      latencyMs = ms;
    },
    /** Requests for which `when` holds are carried out, and the line is reset in place of the reply. */
    loseReplies(when: (request: string) => boolean): void {
      losesReplyTo = when;
    },
    /** Passes everything on again, on new lines. Lines that had gone silent stay so. */
    async heal(): Promise<void> {
      latencyMs = 0;
      silentForNew = false;
      losesReplyTo = () => false;
      if (listener === undefined) await listen(port);
    },
    close(): void {
      listener?.close();
      reset();
      for (const socket of silentEnds) socket.destroy();
    },
  };
}

export type Proxy = Awaited<ReturnType<typeof startProxy>>;
