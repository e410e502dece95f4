import type { ListKind } from '../core/events.ts';
import type { InventoryList, ItemOf } from './inventory.ts';
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
  #built:
    | { readonly items: readonly ListedOf<K>[]; readonly byId: ReadonlyMap<string, ListedOf<K>> }
    | undefined;
  #templates: readonly Template[] | undefined;

  constructor(kind: K, server: string, list: InventoryList<ItemOf[K]>) {
    this.kind = kind;
    this.server = server;
    this.list = list;
  }

  /** What `listed` gave when it was called. */
  get built(): readonly ListedOf<K>[] | undefined {
    return this.#built?.items;
  }

  listed(exposed: Exposed): readonly ListedOf<K>[] {
    return this.#build(exposed).items;
  }

  /** By original name, URI or URI template. */
  item(id: string, exposed: Exposed): ListedOf<K> | undefined {
    return this.#build(exposed).byId.get(id);
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

  #build(exposed: Exposed): { items: readonly ListedOf<K>[]; byId: ReadonlyMap<string, ListedOf<K>> } {
    if (this.#built !== undefined) return this.#built;
    const { kind, server, list } = this;
    const stale = list.stale === true;
    const items: ListedOf<K>[] = [];
    const byId = new Map<string, ListedOf<K>>();
    for (const item of list.items) {
      const id = idOf(kind, item);
      if (id === undefined || byId.has(id)) continue;
      const name = exposed(item.name) ?? item.name;
      const origin = { name, server, originalName: item.name };
      // A field `stale` of the server's own would be taken for ours.
      const added = stale || Object.hasOwn(item, 'stale') ? { ...origin, stale } : origin;
      const listed = copyWith(item, added) as ListedOf<K>;
      Object.freeze(listed);
      items.push(listed);
      byId.set(id, listed);
    }
    this.#built = { items: Object.freeze(items), byId };
    return this.#built;
  }
}

/** `Object.assign` is many times as fast as spreading, but would take an own `__proto__` for the prototype. */
function copyWith(item: object, added: object): object {
  return Object.hasOwn(item, '__proto__') ? { ...item, ...added } : Object.assign({}, item, added);
}

function idOf(kind: ListKind, item: Readonly<Record<string, unknown>>): string | undefined {
  const id =
    kind === 'resources' ? item['uri'] : kind === 'resourceTemplates' ? item['uriTemplate'] : item['name'];
  return typeof id === 'string' ? id : undefined;
}
