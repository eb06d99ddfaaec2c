/** Rows that are a body sent to where jobs are submitted. */
import type { ErrorCode } from "@glimpse/contracts";
import type { Row } from "./rows.ts";

export type Case = [
  name: string,
  body: unknown,
  status: number | number[],
  code?: ErrorCode | ErrorCode[],
  contentType?: string,
];

export const prompt = "What?";

export const repeat = (text: string, times: number): string => text.repeat(times);

export const many = <T>(count: number, item: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => item(i));

/** A body that is no string and no bytes is sent as its JSON. */
export function rowsOf(id: Row["id"], cases: Case[], type = "application/json"): Row[] {
  return cases.map(([name, body, status, code, contentType = type]) => {
    const headers = { "Content-Type": contentType };
    const row: Row = { id, name, send: (target) => target.post("/v1/jobs", body, headers), status };
    return code === undefined ? row : { ...row, code };
  });
}
