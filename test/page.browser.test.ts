// The page in a real browser, over real processes. Needs Chromium: run by .ci/run and `pnpm test:browser`.
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from "vitest";
import { startSystem, type System } from "./support/system.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const samples = JSON.parse(
  readFileSync(join(import.meta.dirname, "../apps/api/public/samples/samples.json"), "utf8"),
) as { question: string; answer: string }[];

function findBrowser(): string {
  const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const path = [process.env.CHROMIUM ?? "", ...places].find((place) => existsSync(place));
  if (!path) throw new Error("No Chromium: install Debian's chromium, or name one in CHROMIUM.");
  return path;
}

let browser: Browser;
let nano: System;
/** Answers "count 5 every 20" with "0 1 2 3 4 ", 20 ms apart. */
let scripted: System;
let page: Page;
let complaints: string[];
/** Ends what has been started, however far that came. */
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const redisUrl = inject("redisUrl");
  nano = await startSystem({ redisUrl, engine: "nano" });
  ends.push(nano.stop);
  scripted = await startSystem({ redisUrl, engine: "scripted" });
  ends.push(scripted.stop);
  browser = await chromium.launch({
    executablePath: findBrowser(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
  ends.push(() => browser.close());
});
afterAll(() => Promise.all(ends.map((end) => end())));

beforeEach(async () => {
  page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
});
afterEach(() => page.close());

async function open(system: System): Promise<void> {
  await page.goto(system.url);
  await page.locator("#samples button").first().click();
  await page.locator("#preview").waitFor();
}

const text = () => page.locator("#text").textContent();
const untilState = (words: string) => page.locator("#state").filter({ hasText: words }).waitFor();
const counted = (words: number) => Array.from({ length: words }, (_, i) => `${i} `).join("");

async function ask(question: string): Promise<void> {
  await page.locator("#question").fill(question);
  await page.locator("#ask").click();
}

test("every sample is answered, with its figures and its curl line", async () => {
  await open(nano);
  for (const [i, sample] of samples.entries()) {
    await page.locator("#samples button").nth(i).click();
    await expect
      .poll(() => page.locator("#question").inputValue(), { timeout: 60_000 })
      .toBe(sample.question);
    await page.locator("#ask").click();
    await page.locator("#figures").waitFor();
    expect(await text()).toBe(sample.answer);
  }
  expect(await page.locator("#figures").textContent()).toMatch(/Total\d+ ms.*picture \+ \d+ text/);
  await page.locator("#question").fill('It\'s a "what"; no?');
  const line = (await page.locator("#curl code").textContent()) ?? "";
  expect(line).toContain(`${nano.url}/v1/infer`);
  const { stdout } = await promisify(execFile)("bash", ["-c", line]);
  expect(JSON.parse(stdout)).toMatchObject({ object: "job", state: "succeeded" });
  expect(await page.locator("#history li").count()).toBe(samples.length - 1);
  expect(complaints).toEqual([]);
});

test("an answer is shown while it is made, whole and in order", async () => {
  await open(scripted);
  await ask("count 60 every 20");
  await untilState("Answering");
  const early = (await text()) ?? "";
  expect(early.length).toBeLessThan(counted(60).length);
  await untilState("Answered");
  expect(counted(60).startsWith(early)).toBe(true);
  expect(await text()).toBe(counted(60));
});

test("a running answer is canceled", async () => {
  await open(scripted);
  await ask("count 1000 every 20");
  await untilState("Answering");
  await page.locator("#cancel").click();
  await untilState("Canceled");
  expect(await page.locator("#ask").isEnabled()).toBe(true);
  expect(await page.locator("#cancel").isVisible()).toBe(false);
});

test("when the worker is lost, the answer begins anew", async () => {
  await open(scripted);
  await ask("count 100 every 20");
  await untilState("Answering");
  await scripted.worker.kill("SIGKILL");
  scripted.worker = await scripted.startWorker();
  await untilState("attempt 2");
  await untilState("Answered");
  expect(await text()).toBe(counted(100));
});

test("refusals are told in words, with their code", async () => {
  await page.goto(nano.url);
  await page.locator("#ask").click();
  expect(await page.locator("#failure").textContent()).toContain("Choose a picture first.");
  const buffer = Buffer.from("89504e470d0a1a0a", "hex");
  await page.locator("#file").setInputFiles({ name: "cut.png", mimeType: "image/png", buffer });
  await ask("What is it?");
  await page.locator("#failure code", { hasText: "invalid_image" }).waitFor();
  await page.locator("#file").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer });
  expect(await page.locator("#problem").textContent()).toBe("a.txt is not a picture.");
});

test("the keyboard is enough, and a narrow screen too", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto(nano.url);
  await page.locator("#samples button").first().focus();
  await page.keyboard.press("Enter");
  await page.locator("#preview").waitFor();
  await page.locator("#question").focus();
  await page.keyboard.press("Enter");
  await page.locator("#figures").waitFor();
  const overflow = await page.evaluate("document.body.scrollWidth - window.innerWidth");
  expect(overflow).toBeLessThanOrEqual(0);
});

test("an API that is gone is said to be gone", async () => {
  await open(scripted);
  await scripted.api.kill("SIGKILL");
  await ask("count 1 every 1");
  await page.locator("#failure code", { hasText: "unreachable" }).waitFor();
});

test("where a key is needed, the page asks for it, and answers as ever", async () => {
  const redisUrl = inject("redisUrl");
  const locked = await startSystem({ redisUrl, engine: "scripted", env: { AUTH: "keys" } });
  ends.push(locked.stop);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(import.meta.dirname, "../scripts/keys.ts"), "create", "--name", "page"],
    { env: { ...process.env, REDIS_URL: redisUrl, KEY_PREFIX: locked.prefix } },
  );
  await open(locked);
  expect(await page.locator("#key").isVisible()).toBe(false);
  await ask("count 20 every 20");
  await page.locator("#failure code", { hasText: "unauthenticated" }).waitFor();
  await page.locator("#key").fill(` ${stdout}`.trimEnd());
  await page.locator("#ask").click();
  await untilState("Answered");
  expect(await text()).toBe(counted(20));
  expect(await page.locator("#curl code").textContent()).not.toContain("glk_");
  await page.reload();
  expect(await page.locator("#key").inputValue()).toBe(stdout.trim());
});
