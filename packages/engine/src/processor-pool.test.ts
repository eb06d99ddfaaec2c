import { afterAll, beforeAll, expect, test } from "vitest";
import { NANO } from "./fixtures.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import { loadProcessor } from "./processor.ts";
import type { Message } from "./types.ts";

let pool: ProcessorPool;
beforeAll(async () => {
  pool = await startProcessorPool({ dir: NANO, limits: { maxPixels: 1e6, context: 1e6 } }, 2);
});
afterAll(() => pool.close());

const user = (content: Message["content"]): Message[] => [{ role: "user", content }];

test("threads give what the processor gives", async () => {
  const direct = await loadProcessor(NANO, { maxPixels: 1e6, context: 1e6 });
  expect(pool.vocabulary).toEqual(direct.vocabulary);
  const questions = ["a", "<|user|>", "你好", "", "x".repeat(5000)];
  const found = await Promise.all(questions.map((text) => pool.process(user(text), true)));
  const wanted = await Promise.all(questions.map((text) => direct.process(user(text), true)));
  expect(found).toEqual(wanted);
});

test("refusals come through with their codes, and the thread goes on", async () => {
  const bad = user([{ type: "image", image: Buffer.from("no picture") }]);
  await expect(pool.process(bad)).rejects.toMatchObject({
    name: "EngineError",
    code: "unsupported_image_media_type",
  });
  expect((await pool.process(user("hi"))).ids.length).toBeGreaterThan(5);
});

test("text that cannot fit is refused before it is encoded, which would take minutes", async () => {
  const own = await startProcessorPool({ dir: NANO, limits: { maxPixels: 1e6, context: 100 } }, 1);
  const question = user("a".repeat(30e6));
  await expect(own.process(question)).rejects.toMatchObject({ code: "context_too_long" });
  await own.close();
});

test("a folder that cannot be loaded is refused at the start", async () => {
  await expect(
    startProcessorPool({ dir: `${NANO}/none`, limits: { maxPixels: 1, context: 1e6 } }, 1),
  ).rejects.toMatchObject({
    code: "invalid_checkpoint",
  });
});

test("a long prompt does not hold up the event loop", async () => {
  const text = "The quick brown fox jumps over 1234 lazy dogs. ".repeat(8000);
  const before = performance.eventLoopUtilization();
  const { ids } = await pool.process(user(text));
  const { utilization } = performance.eventLoopUtilization(before);
  expect(ids.length).toBeGreaterThan(100_000);
  expect(utilization).toBeLessThan(0.3); // it is 1 when the work is done here
});

test("what waits when the threads end is told, and asking again starts new ones", async () => {
  const own = await startProcessorPool({ dir: NANO, limits: { maxPixels: 1e6, context: 1e6 } }, 1);
  const waiting = own.process(user("x".repeat(200_000)));
  await own.close();
  await expect(waiting).rejects.toMatchObject({ code: "engine_failure" });
  expect((await own.process(user("hi"))).ids.length).toBeGreaterThan(5);
  await own.close();
});
