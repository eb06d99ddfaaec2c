import { expect, test } from "vitest";
import { servedModel, sharedEnvironment } from "./environment.ts";

const served = (env: Record<string, string>) => servedModel(sharedEnvironment.parse(env));

test("a model is named after its folder, unless it is named", () => {
  expect(served({})).toEqual({ model: "nano", version: "nano@1" });
  expect(served({ MODEL_DIR: "/models/glm-4.6v-flash/" })).toMatchObject({
    version: "glm-4.6v-flash@1",
  });
  expect(served({ MODEL_DIR: "C:\\models\\x", MODEL_VERSION: "7" })).toMatchObject({
    version: "x@7",
  });
  expect(served({ MODEL_DIR: "/a b", MODEL_NAME: "ab" })).toMatchObject({ model: "ab" });
});

test("a folder whose name cannot be a model's is refused", () => {
  expect(() => served({ MODEL_DIR: "/a b" })).toThrow("letters, digits");
});
