/** Values by what they mean: two that differ only in the order of their members have the same fingerprint. */
import { createHash } from "node:crypto";
import type { Options } from "@glimpse/contracts";

/** SHA-256 in hex of a JSON value; members that are undefined do not count. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sorted)).digest("hex");
}

function sorted(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether these options give the same question the same answer every time. */
export function isDeterministic({ temperature, seed }: Options): boolean {
  return temperature === 0 || seed !== undefined;
}
