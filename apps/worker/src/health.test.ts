import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { WorkerState } from "./fleet.ts";
import { serveHealth } from "./health.ts";

let workers: WorkerState[] = [];
let server: Server;
let url: string;
beforeAll(async () => {
  server = serveHealth(0, () => workers);
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

const worker = (state: WorkerState["state"]): WorkerState => ({
  card: null,
  state,
  deaths: 0,
  running: 0,
  ended: 0,
});
const answers = async () =>
  Promise.all(["/healthz", "/ready"].map(async (path) => (await fetch(url + path)).status));

test("ready when one worker takes jobs, healthy while none is broken", async () => {
  workers = [worker("starting")];
  expect(await answers()).toEqual([200, 503]);
  workers = [worker("ready"), worker("waiting")];
  expect(await answers()).toEqual([200, 200]);
  workers = [worker("ready"), worker("broken")];
  expect(await answers()).toEqual([503, 200]);
  workers = [worker("stopped")];
  expect(await answers()).toEqual([200, 503]);
});

test("each worker is told of, and nothing else is to be had", async () => {
  workers = [worker("ready")];
  expect(await (await fetch(`${url}/ready`)).json()).toEqual({ workers });
  expect((await fetch(`${url}/`)).status).toBe(404);
});
