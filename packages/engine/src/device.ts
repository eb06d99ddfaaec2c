/** Where the graphs run and the KV cache lies. Knows what can be asked for; nothing of the runtime. */

export type Device =
  | {
      type: "cpu";
      /** Of the KV cache and of what graphs compute; with it the runtime owns the cache, as on a card. */
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
