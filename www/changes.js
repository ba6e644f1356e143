// Gathers what changed in the replica between two redraws.

/** Most keys remembered one by one for a collection; beyond it the whole collection counts as changed. */
const KEYS_MAX = 1000;

export class Changes {
  /** Changed keys by collection; `null` instead of keys stands for any of them. */
  #collections = new Map();
  /** Whether anything at all may have changed: a baseline was taken in. */
  #all = false;

  /** Adds a flat list as the replica reports it: collection, key, collection, key, ... with `null` for "any". */
  add(list) {
    for (let at = 0; at < list.length; at += 2) {
      const [collection, key] = [list[at], list[at + 1]];
      if (collection === null) {
        this.#all = true;
        continue;
      }
      const keys = this.#collections.get(collection);
      if (key === null || keys?.size >= KEYS_MAX) this.#collections.set(collection, null);
      else if (keys === undefined) this.#collections.set(collection, new Set([key]));
      else keys?.add(key);
    }
  }

  get isEmpty() {
    return !this.#all && this.#collections.size === 0;
  }

  /** Names of the collections named so far. After a baseline others may have changed too. */
  collections() {
    return [...this.#collections.keys()];
  }

  /** The changed keys of a collection: a set, possibly empty, or `null` for any. */
  keysOf(collection) {
    if (this.#all) return null;
    const keys = this.#collections.get(collection);
    return keys === undefined ? new Set() : keys;
  }
}
