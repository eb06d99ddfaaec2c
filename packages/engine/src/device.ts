/** Where the graphs run and the KV cache lies. Knows what can be asked for; nothing of the runtime. */

import { z } from "zod";

/** As command lines and environments name it. */
export const DeviceName = z.string().regex(/^(cpu|cuda(:\d+)?)$/, "cpu, cuda or cuda:N");

export type Device =
  | {
      type: "cpu";
      /**
       * Of the KV cache and of what graphs compute; with it the runtime owns the cache, as on a card. Less than the
       * graphs themselves take is not held to.
       */
      memoryLimitBytes?: number;
    }
  | {
      type: "cuda";
      /** Among the cards that CUDA_VISIBLE_DEVICES leaves; 0 by default. */
      id?: number;
      /** Of weights, KV cache and what graphs compute; all of the card by default. CUDA's own context comes on top. */
      memoryLimitBytes?: number;
    };

/** Whether the cache can lie in arrays of ours, or is the runtime's and out of their reach. */
export function hasHostCache(device: Device): boolean {
  return device.type === "cpu" && device.memoryLimitBytes === undefined;
}

/** @param name a DeviceName */
export function deviceOf(name: string, memoryLimitBytes?: number): Device {
  const [type, id = "0"] = name.split(":");
  const limit = memoryLimitBytes === undefined ? {} : { memoryLimitBytes };
  return type === "cuda" ? { type, id: Number(id), ...limit } : { type: "cpu", ...limit };
}
