/** Pictures with something wrong in them, by chance: most still look like pictures from their beginning. */
import { crc32 } from "node:zlib";
import type { Random } from "../../support/random.ts";

const interesting = [0, 1, 7, 8, 16, 127, 128, 254, 255];
const mostBytes = 200_000;

type Change = (bytes: Buffer, random: Random, others: Buffer[]) => Buffer;

/** Where something is likely to be read as a length or a size. */
const placeIn = (bytes: Buffer, random: Random) =>
  random.chance(0.5)
    ? random.between(0, Math.min(bytes.length - 1, 64))
    : random.between(0, bytes.length - 1);

const changes: Change[] = [
  (bytes, random) => {
    const at = placeIn(bytes, random);
    bytes[at]! ^= 1 << random.between(0, 7);
    return bytes;
  },
  (bytes, random) => {
    bytes[placeIn(bytes, random)] = random.pick(interesting);
    return bytes;
  },
  (bytes, random) => {
    const at = placeIn(bytes, random);
    const end = Math.min(bytes.length, at + random.between(2, 8));
    return bytes.fill(random.pick(interesting), at, end);
  },
  (bytes, random) => bytes.subarray(0, random.between(1, bytes.length)),
  (bytes, random) => {
    const at = placeIn(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.between(1, 64))]);
  },
  (bytes, random) => {
    const at = placeIn(bytes, random);
    const piece = bytes.subarray(at, at + random.between(1, 256));
    const again = Array.from({ length: random.between(1, 8) }, () => piece);
    return Buffer.concat([bytes.subarray(0, at), ...again, bytes.subarray(at)]);
  },
  (bytes, random, others) => {
    const other = random.pick(others);
    const at = placeIn(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), other.subarray(random.between(0, other.length))]);
  },
];

/** A few changes to one of the pictures. Half of the PNGs get their sums right again, so that decoders look further. */
export function mutate(pictures: Buffer[], random: Random): Buffer {
  let bytes: Buffer = Buffer.from(random.pick(pictures));
  for (let n = random.between(1, 4); n > 0 && bytes.length > 0; n--)
    bytes = Buffer.from(random.pick(changes)(bytes, random, pictures).subarray(0, mostBytes));
  if (random.chance(0.5)) mendSums(bytes);
  return bytes;
}

/** Writes every PNG chunk's CRC anew, as far as the chunks can be followed. */
function mendSums(bytes: Buffer): void {
  if (bytes.toString("latin1", 1, 4) !== "PNG") return;
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 8 + bytes.readUInt32BE(at);
    if (end + 4 > bytes.length) return;
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 4, end)), end);
    at = end + 4;
  }
}
