/** Values in the order of their last use; the oldest go when they are too many bytes together. */

export type Lru<K, V> = {
  readonly bytes: number;
  get(key: K): V | undefined;
  /** False if the value alone is too large. */
  set(key: K, value: V, bytes: number): boolean;
  delete(key: K): void;
  /** From the oldest to the latest. */
  entries(): MapIterator<[K, V]>;
};

export function createLru<K, V>(
  capacityBytes: number,
  onEvict: (value: V) => void = () => {},
): Lru<K, V> {
  const values = new Map<K, V>();
  const sizes = new Map<K, number>();
  let total = 0;

  function remove(key: K): void {
    const value = values.get(key);
    if (value === undefined) return;
    total -= sizes.get(key)!;
    values.delete(key);
    sizes.delete(key);
    onEvict(value);
  }

  return {
    get bytes() {
      return total;
    },
    get(key) {
      const value = values.get(key);
      if (value === undefined) return undefined;
      values.delete(key);
      values.set(key, value);
      return value;
    },
    set(key, value, bytes) {
      remove(key);
      if (bytes > capacityBytes) return false;
      values.set(key, value);
      sizes.set(key, bytes);
      total += bytes;
      for (const oldest of values.keys()) {
        if (total <= capacityBytes) break;
        remove(oldest);
      }
      return true;
    },
    delete: remove,
    entries: () => values.entries(),
  };
}
