import { afterAll, beforeAll, expect, it } from "vitest";
import { hostCache } from "./cache-memory.ts";
import { KvPool } from "./kv-pool.ts";
import type { Manifest } from "./manifest.ts";
import { Runtime } from "./ort.ts";

const [SLOTS, CAPACITY] = [3, 20];

let runtime: Runtime;
beforeAll(() => {
  runtime = new Runtime();
});
afterAll(() => runtime.close());

it("memory that holds no numbers is cleared in every slot, layer, side and head", () => {
  const memory = hostCache(runtime, "float32");
  const dirty: typeof memory = {
    ...memory,
    isZeroed: false,
    allocate: (size) => runtime.tensor(new Float32Array(size).fill(NaN), [size]),
  };
  const text = { layers: 2, kvHeads: 3, cacheDim: 8 };
  const pool = new KvPool(dirty, { text } as Manifest, SLOTS, CAPACITY);
  const sides = Object.values(pool.firstSlots(SLOTS).past).map(({ data }) => data as Float32Array);
  expect(sides).toHaveLength(2 * text.layers);
  for (const side of sides) expect(side).toEqual(new Float32Array(SLOTS * 3 * 24 * 8));
  pool.close();
});
