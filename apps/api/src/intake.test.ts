import { defaultTenant } from "@glimpse/contracts";
import { createFiles } from "@glimpse/ledger";
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "./api-error.ts";
import { createIntake } from "./intake.ts";
import { checkPicture } from "./picture.ts";
import { png, testLimits } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

/** An intake for which the whole internet is `answer`. */
function intakeWith(answer: () => Uint8Array<ArrayBuffer>) {
  let fetches = 0;
  const takeIn = createIntake({
    ...open,
    files: createFiles(open.redis, open.keys, open.blobs, { shard: "0", retentionS: 60 }),
    limits: testLimits,
    fetchImage: async (_url, param) => {
      fetches++;
      return checkPicture(answer(), testLimits, param);
    },
  });
  return { takeIn, fetches: () => fetches };
}

const url = "https://example.com/a.png";
const bytesOf = (body: unknown) => new Uint8Array(Buffer.from(JSON.stringify(body)));
const request = (key: string, body: unknown = { prompt: "What?", images: [url] }) =>
  [
    bytesOf(body),
    "application/json",
    { id: open.ledger.keyedId(defaultTenant, "test", key), tenant: defaultTenant },
    { tenant: defaultTenant },
  ] as const;

async function submit(key: string, answer: () => Uint8Array<ArrayBuffer>): Promise<void> {
  const taken = await intakeWith(answer).takeIn(...request(key));
  if (taken === "known" || taken.fingerprint === null) throw new Error("known already");
  const { input, metadata, fingerprint } = taken;
  const id = open.ledger.keyedId(defaultTenant, "test", key);
  const served = { model: "nano", version: "nano@1" };
  const job = { tenant: defaultTenant, ...served, input, metadata, chosen: { id, fingerprint } };
  expect((await open.ledger.submit(job)).outcome).toBe("created");
}

test("a request that was accepted is known, although its picture is not to be had any more", async () => {
  await submit("gone", () => png(8, 8));
  const { takeIn, fetches } = intakeWith(() => {
    throw new ApiError("failed_to_download_image", "It is gone.");
  });
  expect(await takeIn(...request("gone"))).toBe("known");
  expect(fetches()).toBe(0);
  await expect(takeIn(...request("new"))).rejects.toThrow("It is gone.");
});

test("a request stays the same when the picture behind its URL changes, but not when the URL does", async () => {
  await submit("changed", () => png(8, 8));
  const { takeIn } = intakeWith(() => png(9, 9));
  expect(await takeIn(...request("changed"))).toBe("known");
  const other = { prompt: "What?", images: [`${url}?2`] };
  expect(await takeIn(...request("changed", other))).toMatchObject({ model: null });
});

test("without a chosen id there is nothing to compare", async () => {
  const { takeIn } = intakeWith(() => png(8, 8));
  const taken = await takeIn(bytesOf({ prompt: "What?" }), "application/json", null, {
    tenant: defaultTenant,
  });
  expect(taken).toMatchObject({ fingerprint: null });
});

test("what was fetched for a request counts like what was sent", async () => {
  const picture = png(8, 8);
  const { takeIn } = intakeWith(() => picture);
  const body = bytesOf({ prompt: "What?", images: [url, `${url}?2`] });
  const sent = body.byteLength;
  const taken = await takeIn(body, "application/json", null, { tenant: defaultTenant });
  expect(taken).toMatchObject({ bytes: sent + 2 * picture.byteLength });
});
