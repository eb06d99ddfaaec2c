import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { GraphBuilder } from "./graph.ts";
import { bytes, float, int } from "./protobuf.ts";

const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");

describe("protobuf", () => {
  it.each([
    ["a small number", int(1, 150), "089601"],
    ["zero", int(1, 0), "0800"],
    ["a negative number, in ten bytes", int(1, -1), "08ffffffffffffffffff01"],
    ["a number over 32 bits", int(1, 2 ** 40), "08808080808020"],
    ["a field over 15", int(16, 1), "800101"],
    ["a string", bytes(2, "testing"), "120774657374696e67"],
    ["a string of several bytes a character", bytes(2, "é"), "1202c3a9"],
    ["a float", float(2, 1), "150000803f"],
  ])("%s", (_, encoded, wanted) => {
    expect(hex(encoded)).toBe(wanted);
  });
});

it("a graph encodes as the one that the engine's tests run", async () => {
  const noWeights = () => {
    throw new Error("has no weights");
  };
  const g = new GraphBuilder("square", noWeights, { float: "float32", matrices: "float32" });
  const x = g.input("x", "float32", ["n", "n"]);
  const count = g.input("count", "int32", [1]);
  g.output("square", "float32", ["n", "n"], g.op("MatMul", [x, x]));
  g.output("same", "int32", [1], count);
  const fixture = new URL("../../engine/fixtures/square.onnx", import.meta.url);
  expect(hex(g.encode())).toBe(hex(await readFile(fixture)));
});
