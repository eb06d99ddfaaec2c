import { expect, test } from "vitest";
import { createPace } from "./pace.ts";

test("a chunk lasts as many decode steps as allowed, within its bounds", () => {
  const pace = createPace(512, 1.5);
  expect(pace.tokens(true)).toBe(64); // nothing measured
  pace.tookPrefill(100, 20);
  pace.tookDecode(8);
  expect(pace.tokens(true)).toBe(60); // 12 ms at 0.2 ms a token
  expect(pace.tokens(false)).toBe(512);
  pace.tookPrefill(2, 500); // a price of calls, not of tokens
  expect(pace.tokens(true)).toBe(60);
  for (let i = 0; i < 99; i++) pace.tookDecode(1000);
  expect(pace.tokens(true)).toBe(512);
  for (let i = 0; i < 99; i++) pace.tookDecode(0.01);
  expect(pace.tokens(true)).toBe(16);
});

test("one strange measurement does not change much", () => {
  const pace = createPace(512, 1.5);
  pace.tookPrefill(100, 20);
  pace.tookDecode(8);
  pace.tookPrefill(100, 40);
  expect(pace.tokens(true)).toBeGreaterThan(45);
});

test("without a bound in steps chunks are whole", () => {
  const pace = createPace(512, Infinity);
  pace.tookPrefill(100, 20);
  pace.tookDecode(8);
  expect(pace.tokens(true)).toBe(512);
});
