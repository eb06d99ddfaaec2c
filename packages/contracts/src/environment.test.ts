import { expect, test } from "vitest";
import { outboundEnvironment, servedModel, sharedEnvironment } from "./environment.ts";

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

test("who may be reached is a list of addresses, ranges and names; ports are numbers", () => {
  expect(outboundEnvironment.parse({})).toEqual({
    OUTBOUND_ALLOW: [],
    OUTBOUND_PORTS: [80, 443],
    OUTBOUND_HTTP: true,
    OUTBOUND_DNS: [],
  });
  const allow = "10.0.0.0/8, fd00::/8,192.168.1.5,Minio.local,.example.internal";
  expect(
    outboundEnvironment.parse({
      OUTBOUND_ALLOW: allow,
      OUTBOUND_PORTS: "443,9000",
      OUTBOUND_HTTP: "false",
      OUTBOUND_DNS: "9.9.9.9,127.0.0.1:5353,[2620:fe::fe]:53",
    }),
  ).toEqual({
    OUTBOUND_ALLOW: ["10.0.0.0/8", "fd00::/8", "192.168.1.5", "minio.local", ".example.internal"],
    OUTBOUND_PORTS: [443, 9000],
    OUTBOUND_HTTP: false,
    OUTBOUND_DNS: ["9.9.9.9", "127.0.0.1:5353", "[2620:fe::fe]:53"],
  });
  expect(outboundEnvironment.parse({ OUTBOUND_PORTS: "any" }).OUTBOUND_PORTS).toBe("any");
  for (const wrong of [
    { OUTBOUND_ALLOW: "10.0.0.0/8,," },
    { OUTBOUND_ALLOW: "10.0.0.0/33/1" },
    { OUTBOUND_ALLOW: "https://a.example" },
    { OUTBOUND_PORTS: "443,0" },
    { OUTBOUND_PORTS: "all" },
    { OUTBOUND_HTTP: "yes" },
    { OUTBOUND_DNS: "dns.example" },
  ])
    expect(outboundEnvironment.safeParse(wrong).success, JSON.stringify(wrong)).toBe(false);
});
