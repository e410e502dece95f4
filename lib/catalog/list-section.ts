import type { ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import { IDENTITY, type InventoryList, type ItemOf } from './inventory.ts';
import { sameJson } from './same-json.ts';
import { parseTemplate, type Template } from './template.ts';

/**
 * An item as the engine lists it: all fields of the server, plus where it comes from. For tools and prompts `name` is
 * the exposed one; resources keep theirs. Frozen, because lists are remembered and handed out more than once.
 */
type Listed<T> = T & {
  readonly name: string;
  readonly server: string;
  readonly originalName: string;
  /** Last known of a server that cannot be asked now. */
  readonly stale?: boolean;
};

export type ListedOf<K extends ListKind> = Listed<ItemOf[K]>;

type Exposed = (originalName: string) => string | undefined;

/** Values compared to find what of one list is known already: some milliseconds. The rest of it counts as new. */
const COMPARISONS = 100_000;

/**
 * One kind of one server's inventory. What is listed and looked up is built at the first question and remembered, so
 * that a change of one server costs nothing to the others, and a change of one item nothing to its neighbours.
 */
export class ListSection<K extends ListKind> {
  readonly kind: K;
  readonly server: string;
  readonly list: InventoryList<ItemOf[K]>;
  /** What was built of the list before this one. */
  #earlier: readonly ListedOf<K>[] | undefined;
  /** Items of this list that are known to say what the earlier ones said; undefined: nothing is known of them. */
  #unchanged: ReadonlySet<ItemOf[K]> | undefined;
  /** What `known` found last, for the section that follows. */
  #found: { readonly items: readonly ItemOf[K][]; readonly unchanged: ReadonlySet<ItemOf[K]> } | undefined;
  #built: readonly ListedOf<K>[] | undefined;
  #byId: ReadonlyMap<string, ListedOf<K>> | undefined;
  #templates: readonly Template[] | undefined;
  /** Of tools and prompts: the set under which their names are held anyway. */
  #ids: ReadonlySet<string> | undefined;

  constructor(kind: K, server: string, list: InventoryList<ItemOf[K]>) {
    this.kind = kind;
    this.server = server;
    this.list = list;
  }

  /** What the server lists from now on. Where `list` has the same array of items, everything built of it stays. */
  next(list: InventoryList<ItemOf[K]>): ListSection<K> {
    if (this.list.items !== list.items) {
      const unchanged = this.#found?.items === list.items ? this.#found.unchanged : undefined;
      return this.#follower(list, unchanged);
    }
    if (this.list.stale !== list.stale) return this.renamed(list);
    const next = new ListSection(this.kind, this.server, list);
    next.#earlier = this.#earlier;
    next.#unchanged = this.#unchanged;
    next.#built = this.#built;
    next.#byId = this.#byId;
    next.#templates = this.#templates;
    next.#ids = this.#ids;
    return next;
  }

  /** The same items, whose names may be shown differently now. */
  renamed(list = this.list): ListSection<K> {
    return this.#follower(list, this.#built === undefined ? this.#unchanged : new Set(list.items));
  }

  #follower(list: InventoryList<ItemOf[K]>, unchanged: ReadonlySet<ItemOf[K]> | undefined): ListSection<K> {
    const follower = new ListSection(this.kind, this.server, list);
    if (unchanged !== undefined) {
      // Not the section itself: of lists that nobody looks at, each would hold the one before it.
      follower.#earlier = this.#built ?? this.#earlier;
      follower.#unchanged = unchanged;
    }
    return follower;
  }

  /**
   * Another list of the server, with those of its items that say what they said before as the objects that are known;
   * the array that is known where that holds for all of them. For what comes over a wire, where each list is made of new
   * objects: what a server of this process hands over again it may have changed in the meantime, and counts as new.
   */
  known(items: readonly ItemOf[K][]): readonly ItemOf[K][] {
    const before = this.list.items;
    if (items[0] !== undefined && items[0] === before[0]) {
      // Handed over again, as they all will be.
      this.#found = undefined;
      return [...items];
    }
    const stale = this.list.stale === true;
    const comparisons = { left: COMPARISONS };
    const find = finder(before, (item) => idOf(this.kind, item));
    const unchanged = new Set<ItemOf[K]>();
    let all = items.length === before.length;
    const kept = items.map((item, i) => {
      try {
        const id = idOf(this.kind, item);
        const old = find(i, id);
        if (old !== undefined && sameJson(old, item, comparisons)) {
          // Of an object that a server of this process has given another name since, the name is news.
          all &&= this.#ids === undefined || (id !== undefined && this.#ids.has(id));
          if (this.#built !== undefined || this.#unchanged?.has(old) === true) unchanged.add(old);
          const built = this.#built?.[i];
          all &&= old === before[i] && (built === undefined || isCopy(built, old, built.name, stale));
          return old;
        }
      } catch {
        // Only an object of this process throws when it is read.
      }
      all = false;
      return item;
    });
    this.#found = all ? undefined : { items: kept, unchanged };
    return all ? before : kept;
  }

  /** What `listed` gave when it was called. */
  get built(): readonly ListedOf<K>[] | undefined {
    return this.#built;
  }

  listed(exposed: Exposed): readonly ListedOf<K>[] {
    if (this.#built === undefined) {
      this.#built = this.#build(exposed);
      this.#earlier = undefined;
      this.#unchanged = undefined;
    }
    return this.#built;
  }

  /** By original name, URI or URI template. */
  item(id: string, exposed: Exposed): ListedOf<K> | undefined {
    this.#byId ??= new Map(this.listed(exposed).map((item) => [listedId(this.kind, item), item]));
    return this.#byId.get(id);
  }

  /** Names, URIs or URI templates, each once. Items that are none are passed over: the inventory may be unchecked. */
  ids(): ReadonlySet<string> {
    if (this.#ids !== undefined) return this.#ids;
    const ids = new Set<string>();
    for (const item of this.list.items) {
      const id = idOf(this.kind, item);
      if (id !== undefined) ids.add(id);
    }
    if (this.kind === 'tools' || this.kind === 'prompts') this.#ids = ids;
    return ids;
  }

  /** Of resource templates: those that can be parsed. */
  templates(): readonly Template[] {
    if (this.#templates === undefined) {
      const templates: Template[] = [];
      for (const text of this.ids()) {
        const parsed = parseTemplate(text);
        if (parsed.ok) templates.push(parsed.template);
      }
      this.#templates = templates;
    }
    return this.#templates;
  }

  #build(exposed: Exposed): readonly ListedOf<K>[] {
    const { kind, server, list } = this;
    const stale = list.stale === true;
    const items: ListedOf<K>[] = [];
    const seen = new Set<string>();
    const find = finder(this.#earlier ?? NOTHING, (item) => listedId(kind, item));
    for (const item of list.items) {
      const id = idOf(kind, item);
      if (id === undefined || seen.has(id)) continue;
      const name = exposed(item.name) ?? item.name;
      const before = find(seen.size, id);
      seen.add(id);
      if (before !== undefined && this.#unchanged?.has(item) === true && isCopy(before, item, name, stale)) {
        items.push(before);
        continue;
      }
      const listed = copyOf(item);
      listed['name'] = name;
      listed['server'] = server;
      listed['originalName'] = item.name;
      // A field `stale` of the server's own would be taken for ours.
      if (stale || Object.hasOwn(item, 'stale')) listed['stale'] = stale;
      items.push(Object.freeze(listed) as unknown as ListedOf<K>);
    }
    return Object.freeze(items);
  }
}

/** `Object.assign` is many times as fast as spreading, but would take an own `__proto__` for the prototype. */
function copyOf(item: object): Record<string, unknown> {
  return Object.hasOwn(item, '__proto__')
    ? { ...item }
    : (Object.assign({}, item) as Record<string, unknown>);
}

/** Fields that are ours. */
const OWN_FIELDS: ReadonlySet<string> = new Set(['name', 'server', 'originalName', 'stale']);

/** Whether `listed` is what building `item` anew would give, with the same values in it. */
function isCopy(listed: Listed<object>, item: Json, name: string, stale: boolean): boolean {
  if (listed.name !== name || listed.originalName !== item['name']) return false;
  const keys = Object.keys(item);
  let ours = 2;
  for (const key of keys) {
    if (OWN_FIELDS.has(key)) ours -= key === 'name' || key === 'stale' ? 0 : 1;
    else if ((listed as unknown as Json)[key] !== item[key] || !Object.hasOwn(listed, key)) return false;
  }
  const toldStale = stale || Object.hasOwn(item, 'stale');
  if (toldStale && !Object.hasOwn(item, 'stale')) ours += 1;
  return (
    listed.stale === (toldStale ? stale : undefined) && Object.keys(listed).length === keys.length + ours
  );
}

const NOTHING: readonly never[] = [];

/** Finds an item by its id, first where it is most likely to be. */
function finder<T>(
  items: readonly T[],
  id: (item: T) => string | undefined,
): (at: number, wanted: string | undefined) => T | undefined {
  let byId: Map<string | undefined, T> | undefined;
  return (at, wanted) => {
    const likely = items[at];
    if (likely !== undefined && id(likely) === wanted) return likely;
    if (items.length === 0) return undefined;
    byId ??= new Map(items.map((item) => [id(item), item]));
    return byId.get(wanted);
  };
}

/** Under its exposed name an item is known to hosts; here it goes by what its server calls it. */
function listedId(kind: ListKind, item: Listed<Readonly<Record<string, unknown>>>): string {
  return kind === 'tools' || kind === 'prompts' ? item.originalName : (idOf(kind, item) as string);
}

function idOf(kind: ListKind, item: Readonly<Record<string, unknown>>): string | undefined {
  const id = item[IDENTITY[kind]];
  return typeof id === 'string' ? id : undefined;
}
