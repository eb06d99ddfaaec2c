import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocationError, EngineError } from "./errors.ts";
import { Runtime } from "./ort.ts";
import { Session } from "./session.ts";

/** square = x x, same = count; @glimpse/converter's graph.test.ts builds it. */
const SQUARE = fileURLToPath(new URL("../fixtures/square.onnx", import.meta.url));

let runtime: Runtime;
let session: Session;

beforeAll(async () => {
  runtime = new Runtime();
  session = await Session.load(runtime, "square", SQUARE, 1);
});

afterAll(() => {
  session.close();
  runtime.close();
});

function floats(values: number[], ...dims: number[]) {
  return runtime.tensor(Float32Array.from(values), dims);
}

function refusal(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe("a session", () => {
  it("writes into the tensors it is given, again and again", async () => {
    const data = new Float32Array(4);
    using square = runtime.tensor(data, [2, 2]);
    using x = floats([1, 2, 3, 4], 2, 2);
    using count = runtime.tensor(Int32Array.of(7), [1]);
    const same = new Int32Array(1);
    using sameTensor = runtime.tensor(same, [1]);
    const binding = session.bind({ x, count }, { square, same: sameTensor });
    await binding.run();
    expect([...data, ...same]).toEqual([7, 10, 15, 22, 7]);
    (x.data as Float32Array).set([1, 0, 0, 1]);
    await binding.run();
    expect([...data]).toEqual([1, 0, 0, 1]);
  });

  it("passes tensors in the device's memory on, and parts of them", async () => {
    const memory = session.openMemory();
    using whole = memory.allocate("float32", [3, 2, 2]);
    using middle = memory.view(whole, 4, [2, 2]);
    expect(() => memory.view(whole, 9, [2, 2])).toThrow("4 elements at 9 of float32[3, 2, 2]");
    using x = floats([1, 1, 0, 1], 2, 2);
    using count = runtime.tensor(Int32Array.of(1), [1]);
    using same = memory.allocate("int32", [1]);
    const data = new Float32Array(4);
    using square = runtime.tensor(data, [2, 2]);
    await session.bind({ x, count }, { square: middle, same }).run();
    await session.bind({ x: middle, count: same }, { square, same }).run();
    expect([...data]).toEqual([1, 4, 0, 1]);
    memory.close();
  });

  it.each<[what: string, input: Record<string, number[]>, words: string[]]>([
    ["a missing input", { x: [2, 2] }, ["count is missing"]],
    ["an unknown input", { x: [2, 2], count: [1], z: [1] }, ["z is unknown"]],
    ["another rank", { x: [4], count: [1] }, ["x is float32[4]", "float32[-1, -1]"]],
    ["another size", { x: [2, 2], count: [2] }, ["count is int32[2]", "int32[1]"]],
  ])("refuses %s by shapes, without data", (_, input, words) => {
    const SECRET = 1234567;
    using scope = new DisposableStack();
    const tensors = Object.entries(input).map(([name, dims]) => {
      const values = Array<number>(dims.reduce((size, dim) => size * dim, 1)).fill(SECRET);
      const data = name === "x" ? Float32Array.from(values) : Int32Array.from(values);
      return [name, scope.use(runtime.tensor(data, dims))] as const;
    });
    const square = scope.use(floats([0, 0, 0, 0], 2, 2));
    const same = scope.use(runtime.tensor(new Int32Array(1), [1]));
    const refused = refusal(() => session.bind(Object.fromEntries(tensors), { square, same }));
    expect(refused).toMatchObject({ code: "engine_failure" });
    for (const word of ["square graph", ...words]) expect(String(refused)).toContain(word);
    expect(String(refused)).not.toContain(String(SECRET));
  });

  it("keeps the runtime's own words to the cause", async () => {
    using x = floats([1, 2, 3, 4, 5, 6], 2, 3);
    using square = floats([0, 0, 0, 0], 2, 2);
    using count = runtime.tensor(Int32Array.of(1), [1]);
    using same = runtime.tensor(new Int32Array(1), [1]);
    const error: unknown = await session
      .bind({ x, count }, { square, same })
      .run()
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(EngineError);
    const { message, cause } = error as EngineError;
    expect(message).toBe("the square graph failed on x float32[2, 3], count int32[1]");
    expect(String(cause)).toMatch(/MatMul/);
  });
});

it("a graph that cannot be loaded is named", async () => {
  const loading = Session.load(runtime, "missing", "/nowhere/missing.onnx", 1);
  await expect(loading).rejects.toMatchObject({
    code: "engine_failure",
    message: "the missing graph cannot be loaded",
  });
});

it("data must fill its dimensions", () => {
  expect(() => floats([1, 2, 3], 2, 2)).toThrow("3 elements for float32[2, 2]");
});

it("memory that is not there has an error of its own", () => {
  const memory = session.openMemory();
  expect(() => memory.allocate("float32", [2 ** 22, 2 ** 22])).toThrow(AllocationError);
  memory.close();
});
