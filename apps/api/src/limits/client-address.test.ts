import { Hono } from "hono";
import { expect, test } from "vitest";
import type { AppEnv } from "../errors.ts";
import { addressGroup, readClientAddress } from "./client-address.ts";

/** Whose request it is, by way of `proxies` of ours, when `peer` has connected and says this in X-Forwarded-For. */
async function addressOf(proxies: number, peer: string, forwarded?: string): Promise<unknown> {
  const app = new Hono<AppEnv>();
  app.use(readClientAddress(proxies));
  app.get("/", (c) => c.json(c.get("address")));
  const headers: Record<string, string> =
    forwarded === undefined ? {} : { "X-Forwarded-For": forwarded };
  const env = { incoming: { socket: { remoteAddress: peer } } };
  return (await app.request("/", { headers }, env as never)).json();
}

test("without trusted proxies nobody is believed but the socket", async () => {
  expect(await addressOf(0, "9.9.9.9", "1.1.1.1")).toBe("9.9.9.9");
});

test.each([
  [1, "2.2.2.2", "2.2.2.2"],
  [1, "6.6.6.6, 2.2.2.2", "2.2.2.2"],
  [2, "6.6.6.6, 2.2.2.2, 3.3.3.3", "2.2.2.2"],
  [2, "2.2.2.2", "2.2.2.2"],
  [1, "2.2.2.2:1234", "2.2.2.2"],
  [1, "[2001:db8::1]:1234", "2001:db8::1"],
  [1, "2001:DB8:0::1", "2001:db8::1"],
  [1, "::ffff:2.2.2.2", "2.2.2.2"],
  [1, "6.6.6.6, no address", null],
  [1, "", null],
])("with %i trusted proxies, %j is the client %j", async (proxies, forwarded, expected) => {
  expect(await addressOf(proxies, "9.9.9.9", forwarded)).toBe(expected);
});

test.each([
  ["1.2.3.4", "1.2.3.4"],
  ["::ffff:1.2.3.4", "1.2.3.4"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::", "2001:db8:1:2::/64"],
  ["fe80::1%eth0", "fe80::/64"],
  [undefined, "unknown"],
  ["nonsense", "unknown"],
])("%j counts as %j", (address, group) => {
  expect(addressGroup(address)).toBe(group);
});
