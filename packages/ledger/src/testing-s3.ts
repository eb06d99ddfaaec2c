/** A real S3 server for tests: versitygw on a folder. It is the one in PATH, or is built once by Go's ordinary install. */
import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { access, mkdir, mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Bucket } from "./blob-s3.ts";

const run = promisify(execFile);
const version = "1.8.0";
const cache = join(
  import.meta.dirname,
  `../../../node_modules/.cache/glimpse/versitygw-${version}`,
);

export type S3Server = { bucket: Bucket; stop(): Promise<void> };

/** Starts a server with one empty bucket, and sets the credentials for this process. A string says why there is none. */
export async function startS3Server(): Promise<S3Server | string> {
  const program = await findProgram();
  if (program === null) {
    return `no S3 server: versitygw is not in PATH, and \`go install\` of version ${version} did not bring it`;
  }
  const folder = await mkdtemp(join(tmpdir(), "glimpse-s3-"));
  const [data, meta] = [join(folder, "data"), join(folder, "meta")];
  await mkdir(join(data, "pictures"), { recursive: true });
  await mkdir(meta);
  const port = await freePort();
  const credentials = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test-secret" };
  Object.assign(process.env, credentials);
  const child: ChildProcess = spawn(
    program,
    ["--port", `127.0.0.1:${port}`, "--quiet", "posix", "--sidecar", meta, data],
    {
      env: {
        PATH: process.env.PATH,
        ROOT_ACCESS_KEY: credentials.AWS_ACCESS_KEY_ID,
        ROOT_SECRET_KEY: credentials.AWS_SECRET_ACCESS_KEY,
      },
      stdio: "ignore",
    },
  );
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const endpoint = `http://127.0.0.1:${port}`;
  async function stop(): Promise<void> {
    child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  }
  for (let tries = 0; !(await fetch(endpoint).catch(() => null)); tries++) {
    if (tries === 200) {
      await stop();
      return `no S3 server: ${program} does not answer`;
    }
    await sleep(50);
  }
  return { bucket: { bucket: "pictures", prefix: "a/", region: "us-east-1", endpoint }, stop };
}

async function findProgram(): Promise<string | null> {
  const built = join(cache, "versitygw");
  const works = async (program: string) => {
    return run(program, ["--version"]).then(
      () => true,
      () => false,
    );
  };
  for (const program of ["versitygw", built]) if (await works(program)) return program;
  console.log(`building versitygw ${version} for the tests of S3: once, some minutes`);
  const source = `github.com/versity/versitygw/cmd/versitygw@v${version}`;
  await run("go", ["install", source], { env: { ...process.env, GOBIN: cache } }).catch(() => {});
  return access(built).then(
    () => built,
    () => null,
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
