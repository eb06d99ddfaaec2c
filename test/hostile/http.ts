/** HTTP itself: what a socket can be sent. */
import type { Part, Row } from "./rows.ts";

const rows: Row[] = [
  {
    id: "I29",
    name: "no request at all",
    send: (target) => target.raw("\r\n\r\nnonsense\r\n\r\n"),
    status: 400,
  },
];

export const http: Part = { name: "http", prepare: () => ({ rows }) };
