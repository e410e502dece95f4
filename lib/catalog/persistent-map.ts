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
  #undo: Undo<V> | undefined;
  #before: ReadonlyMap<string, V | undefined> | undefined;
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
      const undo = version.#undone();
      if (undo.has(key)) return undo.get(key);
      version = version.#next as PersistentMap<V>;
    }
  }

  /** The next version. When `change` throws nothing has changed; when it changes nothing this very map comes back. */
  edit(change: (draft: MapDraft<V>) => void): PersistentMap<V> {
    const isNewest = this.#map !== undefined;
    const map = this.#map ?? this.#copy();
    const undo: Undo<V> = { keys: [], values: [] };
    const write = (key: string, value: V | undefined): void => {
      const before = map.get(key);
      if (before === value) return;
      undo.keys.push(key);
      undo.values.push(before);
      put(map, key, value);
    };
    try {
      change({ get: (key) => map.get(key), set: write, delete: (key) => write(key, undefined) });
    } catch (error) {
      restore(map, undo);
      throw error;
    }
    if (undo.keys.length === 0) return this;
    const next = new PersistentMap(map);
    if (isNewest) {
      this.#map = undefined;
      this.#undo = undo;
      this.#next = next;
    }
    return next;
  }

  /** What an old version needs is only put in order when it is read, which is rare. */
  #undone(): ReadonlyMap<string, V | undefined> {
    if (this.#before !== undefined) return this.#before;
    const before = new Map<string, V | undefined>();
    const { keys, values } = this.#undo as Undo<V>;
    for (const [i, key] of keys.entries()) if (!before.has(key)) before.set(key, values[i]);
    this.#undo = undefined;
    this.#before = before;
    return before;
  }

  #copy(): Map<string, V> {
    const undos: ReadonlyMap<string, V | undefined>[] = [];
    // oxlint-disable-next-line typescript/no-this-alias -- walks along the versions
    let version: PersistentMap<V> = this;
    while (version.#map === undefined) {
      undos.push(version.#undone());
      version = version.#next as PersistentMap<V>;
    }
    const map = new Map(version.#map);
    for (let i = undos.length - 1; i >= 0; i -= 1) {
      for (const [key, value] of undos[i] as ReadonlyMap<string, V | undefined>) put(map, key, value);
    }
    return map;
  }
}

export interface MapDraft<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
}

/** What stood there before each change, in the order of the changes. */
interface Undo<V> {
  readonly keys: string[];
  readonly values: (V | undefined)[];
}

function restore<V>(map: Map<string, V>, { keys, values }: Undo<V>): void {
  for (let i = keys.length - 1; i >= 0; i -= 1) put(map, keys[i] as string, values[i]);
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
