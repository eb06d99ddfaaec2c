// Nobody reaches what is inside with the guard; many do without it, so the same URLs would be noticed.
import { expect, test } from "vitest";
import { fetchOutside } from "./fetch-outside.ts";
import { OutboundError } from "./outbound-error.ts";
import type { OutboundPolicy } from "./policy.ts";
import { insideHosts, insideNames, startCanaries, trickyUrls } from "./testing.ts";

/** As a system with these names in its hosts file would answer. */
const resolve: NonNullable<OutboundPolicy["resolve"]> = async (name) =>
  /example/.test(name) ? [] : ["127.0.0.1"];
const guarded: OutboundPolicy = {
  protocols: ["https:", "http:"],
  ports: "any",
  allow: [],
  resolve,
};
/** Knows no difference between inside and outside. */
const open: OutboundPolicy = { ...guarded, allow: ["127.0.0.1", "::1"] };

test("no spelling of anything inside is connected to", { timeout: 60_000 }, async () => {
  const canaries = await startCanaries();
  const urls = [...insideHosts, ...insideNames].flatMap((host) => [
    `http://${host}:${canaries.port}/`,
    `https://${host}:${canaries.port}/`,
  ]);
  urls.push(...trickyUrls(canaries.port));
  expect(new Set(urls).size).toBeGreaterThan(600);
  const reasons = new Map<string, number>();
  for (const url of urls) {
    const error = await fetchOutside(url, { policy: guarded, deadlineMs: 500, maxBytes: 1 }).then(
      ({ status }) => new Error(`${url} answered ${status}`),
      (reason: unknown) => reason,
    );
    if (!(error instanceof OutboundError)) throw error;
    reasons.set(error.reason, (reasons.get(error.reason) ?? 0) + 1);
    expect(["not_allowed", "unreachable"], url).toContain(error.reason);
  }
  expect(canaries.touched).toEqual([]);
  // All that is not known by name is refused for what it is.
  expect(reasons.get("unreachable") ?? 0).toBeLessThan(20);

  const meant = urls.filter((url) =>
    /^http:.*(127\.0\.0\.1|\[::1\])/.test(URL.parse(url)?.origin ?? ""),
  );
  for (const url of meant)
    await fetchOutside(url, { policy: open, deadlineMs: 500, maxBytes: 1 }).catch(() => {});
  expect(canaries.touched.filter((address) => address === "127.0.0.1").length).toBeGreaterThan(30);
  for (const address of canaries.addresses) expect(canaries.touched).toContain(address);
  canaries.close();
});
