// npm start where others can reach it: no start without authentication, and with it a first key from the command line.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test, vi } from "vitest";
import { launch, startSystem, temporaryFolder } from "./support/launch.ts";
import { freePort } from "./support/redis-server.ts";

const root = join(import.meta.dirname, "..");
const run = promisify(execFile);

vi.setConfig({ testTimeout: 120_000 });

test("bound elsewhere without authentication it refuses to start, and says why", async () => {
  const { path, remove } = await temporaryFolder();
  const refused = launch({
    HOST: "0.0.0.0",
    AUTH: "",
    PORT: String(await freePort()),
    DATA_DIR: path,
  });
  expect(await refused.ended).not.toBe(0);
  expect(refused.output()).toContain("HOST=0.0.0.0 can be reached by others");
  expect(refused.output()).toContain("Choose AUTH=keys or AUTH=jwt");
  await remove();
});

test("with AUTH=keys, a key made on the command line opens it until it is revoked there", async () => {
  const { path, remove } = await temporaryFolder();
  const system = await startSystem(path, { AUTH: "keys" });
  const keys = (...args: string[]) =>
    run(process.execPath, [join(root, "scripts/keys.ts"), ...args], {
      env: { ...process.env, REDIS_URL: "", DATA_DIR: path },
    });
  const list = (headers: Record<string, string> = {}) =>
    fetch(`${system.url}/v1/jobs`, { headers }).then(({ status }) => status);
  try {
    expect(system.output()).toContain("npm run keys -- create");
    expect((await fetch(system.url)).status).toBe(200);
    expect(await list()).toBe(401);

    const { stdout, stderr } = await keys("create", "--name", "me", "--tenant", "acme");
    const key = stdout.trim();
    const id = key.split("_")[1]!;
    expect(key).toMatch(/^glk_[0-9a-f]{16}_[0-9a-f]{48}$/);
    expect(stderr).toContain("tenant acme: jobs:read, jobs:write");
    const headers = { Authorization: `Bearer ${key}` };
    expect(await list(headers)).toBe(200);
    expect((await keys("list")).stdout).toContain(`${id}\tacme\tjobs:read,jobs:write\t`);

    await keys("revoke", id);
    await vi.waitFor(async () => expect(await list(headers)).toBe(401), 1_000);
    expect((await keys("list")).stdout).toContain("revoked");

    await expect(keys("revoke", "0".repeat(16))).rejects.toMatchObject({ code: 1 });
    await expect(keys("create")).rejects.toMatchObject({ code: 2 });
    await expect(keys("create", "--name", "x", "--scopes", "all")).rejects.toMatchObject({
      code: 2,
    });
    await expect(keys("frobnicate")).rejects.toMatchObject({ code: 2 });

    const admin = (await keys("create", "--name", "root", "--scopes", "admin")).stdout.trim();
    const audit = await fetch(`${system.url}/v1/admin/audit`, {
      headers: { Authorization: `Bearer ${admin}` },
    });
    expect(await audit.json()).toMatchObject({
      data: [{ action: "keys create" }, { action: "keys revoke", target: id }, { target: id }],
    });
  } finally {
    system.kill("SIGTERM");
    await system.ended;
    await remove();
  }
});
