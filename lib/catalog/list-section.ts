import type { ListKind } from '../core/events.ts';
import { IDENTITY, type InventoryList, type ItemOf } from './inventory.ts';
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

/**
 * One kind of one server's inventory. What is listed and looked up is built at the first question and remembered, so
 * that a change of one server costs nothing to the others.
 */
export class ListSection<K extends ListKind> {
  readonly kind: K;
  readonly server: string;
  readonly list: InventoryList<ItemOf[K]>;
  #built: readonly ListedOf<K>[] | undefined;
  #byId: ReadonlyMap<string, ListedOf<K>> | undefined;
  #templates: readonly Template[] | undefined;

  constructor(kind: K, server: string, list: InventoryList<ItemOf[K]>) {
    this.kind = kind;
    this.server = server;
    this.list = list;
  }

  /** What `listed` gave when it was called. */
  get built(): readonly ListedOf<K>[] | undefined {
    return this.#built;
  }

  listed(exposed: Exposed): readonly ListedOf<K>[] {
    this.#built ??= this.#build(exposed);
    return this.#built;
  }

  /** By original name, URI or URI template. */
  item(id: string, exposed: Exposed): ListedOf<K> | undefined {
    this.#byId ??= new Map(this.listed(exposed).map((item) => [listedId(this.kind, item), item]));
    return this.#byId.get(id);
  }

  /** Names, URIs or URI templates, each once. Items that are none are passed over: the inventory may be unchecked. */
  ids(): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const item of this.list.items) {
      const id = idOf(this.kind, item);
      if (id !== undefined) ids.add(id);
    }
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
    for (const item of list.items) {
      const id = idOf(kind, item);
      if (id === undefined || seen.has(id)) continue;
      seen.add(id);
      const listed = copyOf(item);
      listed['name'] = exposed(item.name) ?? item.name;
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

/** Under its exposed name an item is known to hosts; here it goes by what its server calls it. */
function listedId(kind: ListKind, item: Listed<Readonly<Record<string, unknown>>>): string {
  return kind === 'tools' || kind === 'prompts' ? item.originalName : (idOf(kind, item) as string);
}

function idOf(kind: ListKind, item: Readonly<Record<string, unknown>>): string | undefined {
  const id = item[IDENTITY[kind]];
  return typeof id === 'string' ? id : undefined;
}
