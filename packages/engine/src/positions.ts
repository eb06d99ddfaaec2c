/** M-RoPE position ids: three axes (time, height, width) for every token. Source: transformers' Glm4vModel.get_rope_index. */
import type { Grid } from "./types.ts";

export type Positions = {
  /** [3, n] row-major: all t, then all h, then all w. */
  ids: Int32Array;
  /** The token after m others stands at m + delta on all axes, if the prompt is among them; negative with pictures. */
  delta: number;
};

/**
 * Positions of a whole prompt. Text advances one by one on all axes; a picture keeps time still, spreads its merged
 * grid over height and width, and text goes on after the longer side.
 * @param ids prompt token ids, n of them
 * @param grids patch grids [t, h, w] in the order of the runs of `imageTokenId`; sides are multiples of `merge`
 */
export function promptPositions(
  ids: ArrayLike<number>,
  grids: Grid[],
  imageTokenId: number,
  merge: number,
): Positions {
  const n = ids.length;
  const positions = new Int32Array(3 * n);
  let current = 0;
  let picture = 0;
  for (let i = 0; i < n;) {
    const grid = ids[i] === imageTokenId ? grids[picture++] : undefined;
    if (grid === undefined) {
      positions[i] = positions[n + i] = positions[2 * n + i] = current++;
      i++;
      continue;
    }
    const [rows, columns] = [grid[1] / merge, grid[2] / merge];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, i++) {
        positions[i] = current;
        positions[n + i] = current + row;
        positions[2 * n + i] = current + column;
      }
    }
    current += Math.max(rows, columns);
  }
  return { ids: positions, delta: current - n };
}
