/**
 * The matrix [size, side] that resamples one axis of a learned table of `side` entries to `size` points, as torch's
 * `grid_sample` does (bicubic, align_corners=False, padding border): Keys' kernel with a = -0.75 over four taps, each
 * tap's index clamped into the table. Resampling a square table is this matrix along one axis, then along the other.
 * Coordinates are rounded to float32 as there.
 */
export function bicubicMatrix(size: number, side: number): Float32Array {
  const { fround, floor, min, max } = Math;
  const matrix = new Float32Array(size * side);
  for (let i = 0; i < size; i++) {
    const normalised = fround(fround(fround((i + 0.5) / size) * 2) - 1);
    const source = fround(fround(fround(fround(normalised + 1) * side) - 1) / 2);
    const start = floor(source);
    for (let tap = -1; tap <= 2; tap++) {
      const column = min(max(start + tap, 0), side - 1);
      matrix[i * side + column]! += keys(Math.abs(fround(source - start) - tap));
    }
  }
  return matrix;
}

/** R. Keys, "Cubic convolution interpolation for digital image processing" (1981), a = -0.75. */
function keys(distance: number): number {
  const a = -0.75;
  return distance <= 1
    ? ((a + 2) * distance - (a + 3)) * distance * distance + 1
    : ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a;
}
