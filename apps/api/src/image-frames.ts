/** How many frames a file claims to have, from the names and lengths of its chunks alone. */

/** PNG (https://www.w3.org/TR/png-3/): `acTL` says it, and stands before the pixels. */
export function apngFrames(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const type = name(bytes, at + 4);
    if (type === "IDAT") return 1;
    if (type === "acTL") return view.getUint32(at + 8);
  }
  return 1;
}

/** WebP (https://developers.google.com/speed/webp/docs/riff_container): every `ANMF` chunk is a frame. */
export function webpFrames(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  let frames = 0;
  for (let at = 12; at + 8 <= bytes.length;) {
    if (name(bytes, at) === "ANMF") frames++;
    const length = view.getUint32(at + 4, true);
    at += 8 + length + (length % 2);
  }
  return Math.max(1, frames);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function name(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
