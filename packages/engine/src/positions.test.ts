import { expect, test } from "vitest";
import { readFixture } from "./fixtures.ts";
import { promptPositions } from "./positions.ts";
import type { Grid } from "./types.ts";

type Case = { ids: number[]; grids: Grid[]; positions: number[]; delta: number };

test.each(readFixture<Case>("positions"))("$grids.length pictures: as transformers", (given) => {
  const imageToken = Math.max(...given.ids);
  const { ids, delta } = promptPositions(given.ids, given.grids, imageToken, 2);
  expect([...ids]).toEqual(given.positions);
  expect(delta).toBe(given.delta);
});

test("decoding goes on right after the prompt's largest position", () => {
  const ids = [7, ...Array<number>(6).fill(9), 7];
  const prompt = promptPositions(ids, [[1, 4, 6]], 9, 2);
  expect(prompt.delta).toBe(-3);
  expect(ids.length + prompt.delta).toBe(Math.max(...prompt.ids) + 1);
});
