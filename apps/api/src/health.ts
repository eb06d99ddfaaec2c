/** What the service says about itself. */
import type { WorkerBeat, models, readiness } from "@glimpse/contracts";
import type { Ledger, Subscriber } from "@glimpse/ledger";
import { isRedisUnavailable } from "@glimpse/ledger";
import type { Admission } from "./admission/admission.ts";
import type { z } from "zod";

type Served = { model: string; version: string };

/** Ready means that a job submitted now will be run, and can be followed. */
export async function readReadiness(
  ledger: Ledger,
  subscriber: Subscriber,
  served: Served,
  admission: Admission,
): Promise<z.infer<typeof readiness>> {
  let workers: WorkerBeat[];
  try {
    workers = await ledger.workers();
    await admission.readPulse(served.version);
  } catch (error) {
    if (!isRedisUnavailable(error)) throw error;
    return { ready: false, missing: ["redis", "worker"], workers: [], breakers: {} };
  }
  const served_by = workers.some(({ version }) => version === served.version);
  const missing: ("redis" | "worker")[] = subscriber.isReady ? [] : ["redis"];
  if (!served_by) missing.push("worker");
  return { ready: missing.length === 0, missing, workers, breakers: admission.states() };
}

/** The models that jobs may name, with who runs them just now. */
export async function listModels(ledger: Ledger, served: Served): Promise<z.infer<typeof models>> {
  const workers = (await ledger.workers()).filter(({ version }) => version === served.version);
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const versions = [{ id: served.version, workers: workers.length, slots }];
  const model = { id: served.model, object: "model", created: 0, owned_by: "glimpse" } as const;
  return { object: "list", data: [{ ...model, versions }] };
}
