/**
 * A map that never changes, made for a line of versions: the newest holds one real Map, every older one holds what
 * must be undone to get back to it (Baker's rerooting, 1991). Reading the newest costs one Map lookup, a change costs
 * what it touches, and an old version stays right. Changing an old version again copies it first.
 *
 * A catalog of 100,000 names gets a new version for every server that lists anew: copying would cost milliseconds
 * each time.
 */
export class PersistentMap<V extends object> {
  #map: Map<string, V> | undefined;
  #undo: ReadonlyMap<string, V | undefined> | undefined;
  #next: PersistentMap<V> | undefined;

  private constructor(map: Map<string, V>) {
    this.#map = map;
  }

  static empty<V extends object>(): PersistentMap<V> {
    return new PersistentMap<V>(new Map());
  }

  get(key: string): V | undefined {
    // oxlint-disable-next-line typescript/no-this-alias -- walks along the versions
    let version: PersistentMap<V> = this;
    for (;;) {
      if (version.#map !== undefined) return version.#map.get(key);
      const undo = version.#undo;
      if (undo?.has(key) === true) return undo.get(key);
      version = version.#next as PersistentMap<V>;
    }
  }

  /** The next version. When `change` throws nothing has changed; when it changes nothing this very map comes back. */
  edit(change: (draft: MapDraft<V>) => void): PersistentMap<V> {
    const isNewest = this.#map !== undefined;
    const map = this.#map ?? this.#copy();
    const undo = new Map<string, V | undefined>();
    const put = (key: string, value: V | undefined): void => {
      const before = map.get(key);
      if (before === value) return;
      if (!undo.has(key)) undo.set(key, before);
      if (value === undefined) map.delete(key);
      else map.set(key, value);
    };
    try {
      change({ get: (key) => map.get(key), set: put, delete: (key) => put(key, undefined) });
    } catch (error) {
      restore(map, undo);
      throw error;
    }
    if (undo.size === 0) return this;
    const next = new PersistentMap(map);
    if (isNewest) {
      this.#map = undefined;
      this.#undo = undo;
      this.#next = next;
    }
    return next;
  }

  #copy(): Map<string, V> {
    const undos: ReadonlyMap<string, V | undefined>[] = [];
    // oxlint-disable-next-line typescript/no-this-alias -- walks along the versions
    let version: PersistentMap<V> = this;
    while (version.#map === undefined) {
      if (version.#undo !== undefined) undos.push(version.#undo);
      version = version.#next as PersistentMap<V>;
    }
    const map = new Map(version.#map);
    for (let i = undos.length - 1; i >= 0; i -= 1)
      restore(map, undos[i] as ReadonlyMap<string, V | undefined>);
    return map;
  }
}

export interface MapDraft<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
}

function restore<V>(map: Map<string, V>, undo: ReadonlyMap<string, V | undefined>): void {
  for (const [key, value] of undo) {
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }
}
