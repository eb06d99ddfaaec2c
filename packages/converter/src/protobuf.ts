/** Protocol Buffers' wire format, the writing half: varints, 32-bit floats and length-delimited fields. */

const VARINT = 0;
const DELIMITED = 2;
const FIXED32 = 5;

/** A non-negative or negative integer as ten bytes at most, least significant group first (two's complement in 64 bits). */
function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function tag(field: number, wireType: number): Uint8Array {
  return varint((field << 3) | wireType);
}

export function int(field: number, value: number | bigint): Uint8Array {
  return concat([tag(field, VARINT), varint(value)]);
}

export function float(field: number, value: number): Uint8Array {
  return concat([tag(field, FIXED32), new Uint8Array(Float32Array.of(value).buffer)]);
}

/** A string, bytes or an embedded message. */
export function bytes(field: number, value: string | Uint8Array): Uint8Array {
  const body = typeof value === "string" ? Buffer.from(value) : value;
  return concat([tag(field, DELIMITED), varint(body.length), body]);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
