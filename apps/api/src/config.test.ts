import { expect, test } from "vitest";
import { readConfig } from "./config.ts";

test("an empty environment is a valid one, for this machine only", () => {
  const config = readConfig({ PORT: "" });
  expect(config).toMatchObject({
    host: "127.0.0.1",
    port: 8080,
    served: { model: "nano", version: "nano@1" },
  });
});

test.each(["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])(
  "%s needs no authentication",
  (HOST) => {
    expect(readConfig({ HOST }).host).toBe(HOST);
  },
);

test.each(["0.0.0.0", "::", "192.168.1.5", "example.com", "127.0.0.1.example.com"])(
  "%s is refused without it",
  (HOST) => {
    expect(() => readConfig({ HOST })).toThrow("AUTH=none");
    expect(readConfig({ HOST, AUTH: "none" }).host).toBe(HOST);
  },
);

test("what is wrong is named, and not repeated", () => {
  const env = { REDIS_URL: "https://secret@example", PORT: "x", MAX_IMAGES: "0" };
  for (const name of Object.keys(env)) expect(() => readConfig(env)).toThrow(name);
  expect(() => readConfig(env)).not.toThrow("secret");
});

test("open streams are not limited where all callers look alike, and are otherwise", () => {
  const streams = (env: Record<string, string>) => readConfig(env).gateway.streamsPerKey;
  expect(streams({})).toBeGreaterThan(10_000);
  expect(streams({ MAX_STREAMS_PER_KEY: "20" })).toBe(20);
  expect(streams({ TRUSTED_PROXIES: "1" })).toBe(500);
  expect(streams({ HOST: "0.0.0.0", AUTH: "none" })).toBe(500);
  expect(streams({ AUTH: "keys" })).toBe(500);
});
