/**
 * The least that a client of HTTP/1.1 can be: connections that are kept, a request on each at a time, answers with a
 * Content-Length. What BullMQ is measured with costs its producer a tenth of what a client for everything would cost here,
 * and would be counted as ours.
 */
import type { Socket } from "node:net";
import { connect } from "node:net";

export type Answer = { status: number; head: string; body: string };

type Connection = { socket: Socket; settle: (error: Error | null, answer?: Answer) => void };

const nobody: Connection["settle"] = () => {};

/** Opens as many connections as there are requests at once. */
export function createHttp(url: string) {
  const { hostname, port, host } = new URL(url);
  const idle: Connection[] = [];
  const open = new Set<Socket>();

  function dial(): Connection {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const connection: Connection = { socket, settle: nobody };
    let received: Buffer | undefined;
    open.add(socket);
    socket.on("data", (chunk) => {
      received = received === undefined ? chunk : Buffer.concat([received, chunk]);
      const answer = parseAnswer(received);
      if (answer === null) return;
      received = undefined;
      idle.push(connection);
      connection.settle(null, answer);
    });
    socket.on("error", (error) => connection.settle(error));
    socket.on("close", () => {
      open.delete(socket);
      if (idle.includes(connection)) idle.splice(idle.indexOf(connection), 1);
      connection.settle(new Error("the connection was closed"));
    });
    return connection;
  }

  return {
    post(path: string, json: string): Promise<Answer> {
      const connection = idle.pop() ?? dial();
      return new Promise((resolve, reject) => {
        connection.settle = (error, answer) => {
          connection.settle = nobody;
          if (answer === undefined) reject(error ?? new Error("no answer"));
          else resolve(answer);
        };
        const length = Buffer.byteLength(json);
        connection.socket.write(
          `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${json}`,
        );
      });
    },
    close(): void {
      for (const socket of open) socket.destroy();
    },
  };
}

/** Null while it is not here whole. */
function parseAnswer(received: Buffer): Answer | null {
  const end = received.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const head = received.toString("latin1", 0, end);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer without its length: ${head}`);
  const from = end + 4;
  if (received.length < from + Number(length)) return null;
  return { status: Number(head.slice(9, 12)), head, body: received.toString("utf8", from) };
}
