/** A name server that says what a test wants, and may say something else the next time (RFC 1035; UDP only). */
import { createSocket } from "node:dgram";
import { isIPv4 } from "node:net";

/** Answers for each question in turn, the last one for ever: addresses of both kinds, or `cname:other.example`. */
export type Zone = Record<string, string[][]>;

const types = { A: 1, CNAME: 5, AAAA: 28 } as const;

/** Listens on 127.0.0.1. Names that are not in the zone do not exist. */
export async function startDnsServer(zone: Zone) {
  const asked = new Map<string, number>();
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, type, question } = readQuestion(query);
    const answers = zone[name];
    const records = (answers?.[turn(name, type, answers.length)] ?? []).filter(
      (answer) => typeOf(answer) === types.CNAME || typeOf(answer) === type,
    );
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(answers === undefined ? 0x8183 : 0x8180, 2); // answer; no such name, or none of this type
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    socket.send(Buffer.concat([head, question, ...chain(records)]), from.port, from.address);
  });

  /** Each type has its own turns: a client asks for both. */
  function turn(name: string, type: number, answers: number): number {
    const key = `${type} ${name}`;
    const turns = asked.get(key) ?? 0;
    asked.set(key, turns + 1);
    return Math.min(turns, answers - 1);
  }

  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

/** The first question: its name in lower case, and its bytes. */
function readQuestion(query: Buffer): { name: string; type: number; question: Buffer } {
  const labels: string[] = [];
  let at = 12;
  for (let length; (length = query[at] ?? 0) > 0; at += 1 + length)
    labels.push(query.toString("latin1", at + 1, at + 1 + length).toLowerCase());
  const question = query.subarray(12, at + 5);
  return { name: labels.join("."), type: query.readUInt16BE(at + 1), question };
}

function typeOf(answer: string): (typeof types)[keyof typeof types] {
  if (answer.startsWith("cname:")) return types.CNAME;
  return isIPv4(answer) ? types.A : types.AAAA;
}

/** The first is about the question's name (a pointer to byte 12), what follows an alias about that; class IN, TTL 0. */
function chain(answers: string[]): Buffer[] {
  let owner: Buffer = Buffer.from([0xc0, 12]);
  return answers.map((answer) => {
    const type = typeOf(answer);
    const data = encode[type](answer);
    const fixed = Buffer.from([0, type, 0, 1, 0, 0, 0, 0, 0, data.length]);
    const record = Buffer.concat([owner, fixed, data]);
    if (type === types.CNAME) owner = data;
    return record;
  });
}

const encode = {
  [types.A]: (address: string) => Buffer.from(address.split(".").map(Number)),
  [types.AAAA]: bytes6,
  [types.CNAME]: (answer: string) => name(answer.slice("cname:".length)),
};

function name(text: string): Buffer {
  const labels = text.split(".").map((label) => Buffer.from(`\0${label}`, "latin1"));
  for (const label of labels) label[0] = label.length - 1;
  return Buffer.concat([...labels, Buffer.alloc(1)]);
}

/** Of an address with all eight groups, or one `::`. */
function bytes6(address: string): Buffer {
  const [head = [], tail = []] = address
    .split("::")
    .map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  const bytes = Buffer.alloc(16);
  for (const [i, group] of [...head, ...zeros, ...tail].entries())
    bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * i);
  return bytes;
}
