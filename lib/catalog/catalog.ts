import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { ListPart } from './aggregate.ts';
import { rejoined, type Joined } from './joined.ts';
import type { Inventory, InventoryList, ItemOf } from './inventory.ts';
import { ListSection, type ListedOf } from './list-section.ts';
import {
  createNameRegistry,
  type NamedKind,
  type NameHolder,
  type NameRegistry,
  type NameReport,
} from './name-registry.ts';
import { quoted } from './name-text.ts';
import type { Naming } from './naming.ts';
import { nearNames } from './near-names.ts';
import { PersistentMap, type MapDraft } from './persistent-map.ts';
import { ResourceIndex, type ResourceEvidence, type ResourcePattern } from './resource-index.ts';

export interface LookupOptions {
  /** Only these servers are looked at. */
  readonly servers?: readonly string[] | undefined;
  /**
   * What is not visible does not exist for this lookup: it is neither found, nor ambiguous, nor suggested. Of
   * resources the second argument is the URI.
   */
  readonly visible?: ((server: string, originalName: string) => boolean) | undefined;
}

interface ResourceHolders {
  /** What spoke for them. */
  readonly by: ResourceEvidence;
  /** At least one, in order of declaration: to be asked one after the other. */
  readonly servers: readonly string[];
}

/**
 * All inventories under one set of names. Immutable: `withInventory` and the like give a new catalog, in which
 * everything about the other servers is shared with the old one, and the old one keeps answering as before.
 */
export interface Catalog {
  readonly naming: Naming;
  /** All declared servers, in order of declaration, listed or not. */
  readonly order: readonly string[];
  /** How many servers have an inventory: `parts` of all servers are as many. */
  readonly size: number;
  /** What could not be named as wished, or is not one server's own any more, through the change that led here. */
  readonly reports: readonly NameReport[];
  /**
   * By exposed name, or by original name where one server only has it. Throws `not_found` (with near names) or
   * `ambiguous_name` (with the candidates in `data`).
   */
  tool(name: string, options?: LookupOptions): ListedOf<'tools'>;
  prompt(name: string, options?: LookupOptions): ListedOf<'prompts'>;
  /**
   * Whom to ask for a URI: those that list it; else those with a template that fits; else the one the host's pattern
   * names; else those that list others of its scheme. Throws `not_found`.
   */
  resource(uri: string, options?: LookupOptions): ResourceHolders;
  inventory(server: string): Inventory | undefined;
  /** What a server lists anew, with what is known already as it is known: see `ListSection.known`. */
  known<K extends ListKind>(server: string, kind: K, items: readonly ItemOf[K][]): readonly ItemOf[K][];
  /** Everything of a kind in order of declaration; frozen, and the same array until something changes. */
  list<K extends ListKind>(kind: K): readonly ListedOf<K>[];
  /** Servers whose list of this kind has not been built yet: `listOf` would have to. */
  unbuilt(kind: ListKind): readonly string[];
  /** What one server lists; empty for one that has not listed yet. */
  listOf<K extends ListKind>(server: string, kind: K): readonly ListedOf<K>[];
  /** The lists of all or some servers side by side, for `mergeLists`. */
  parts<K extends ListKind>(kind: K, servers?: readonly string[]): readonly ListPart<ListedOf<K>>[];
}

type Sections = { readonly [K in ListKind]: ListSection<K> };

interface ServerEntry {
  readonly inventory: Inventory;
  readonly sections: Sections;
}

interface State {
  readonly order: readonly string[];
  readonly ranks: ReadonlyMap<string, number>;
  readonly servers: PersistentMap<ServerEntry>;
  /** How many servers have an entry. */
  readonly size: number;
  readonly names: NameRegistry;
  readonly resources: ResourceIndex;
  readonly reports: readonly NameReport[];
}

const NAMED_KINDS: readonly NamedKind[] = ['tools', 'prompts'];
const WORD: Readonly<Record<ListKind, string>> = {
  tools: 'tool',
  prompts: 'prompt',
  resources: 'resource',
  resourceTemplates: 'resource template',
};
/** Candidates in the text and in the data of one error. */
const MAX_SPELLED = 10;
const MAX_CANDIDATES = 100;
/** Characters of a name that was not found, in the data of the error. */
const MAX_NAME_IN_DATA = 256;

/** An empty catalog. `order` is the order of declaration. Throws `config_invalid` for a bad pattern. */
export function createCatalog(
  order: readonly string[],
  naming: Naming = 'prefixed',
  patterns: readonly ResourcePattern[] = [],
): Catalog {
  const declared = [...new Set(order)];
  return new Snapshot({
    order: declared,
    ranks: ranksOf(declared),
    servers: PersistentMap.empty(),
    size: 0,
    names: createNameRegistry({ naming, servers: declared }),
    resources: ResourceIndex.create(patterns),
    reports: [],
  });
}

/**
 * `server` lists `inventory` from now on. Nothing that another server holds is renamed (with `transparent`, names
 * that are no longer one server's own get their server in front). An undeclared server is declared last.
 */
export function withInventory(catalog: Catalog, server: string, inventory: Inventory): Catalog {
  if (!stateOf(catalog).ranks.has(server)) {
    return withInventory(withOrder(catalog, [...catalog.order, server]), server, inventory);
  }
  const snapshot = snapshotOf(catalog);
  const before = snapshot.state;
  const entry = before.servers.get(server);
  const sections: Sections = {
    tools: sectionOf('tools', server, inventory.tools, entry),
    prompts: sectionOf('prompts', server, inventory.prompts, entry),
    resources: sectionOf('resources', server, inventory.resources, entry),
    resourceTemplates: sectionOf('resourceTemplates', server, inventory.resourceTemplates, entry),
  };
  const reports: NameReport[] = [];
  const touched = new Set<string>();
  let { names } = before;
  for (const kind of NAMED_KINDS) {
    if (entry !== undefined && entry.inventory[kind].items === inventory[kind].items) continue;
    const change = names.claim(kind, server, sections[kind].ids());
    names = change.registry;
    reports.push(...change.reports);
    for (const other of change.touched) touched.add(other);
  }
  const resources = before.resources.change(server, entry?.sections, sections);
  const servers = before.servers.edit((draft) => {
    draft.set(server, { inventory, sections });
    nameAgain(draft, touched);
  });
  const size = before.size + (entry === undefined ? 1 : 0);
  const state = { ...before, servers, size, names, resources, reports };
  return new Snapshot(state, snapshot.remembered([server, ...touched]));
}

/** That server is gone for good, and its names are free. Not for one that is only down: see `staleInventory`. */
export function without(catalog: Catalog, server: string): Catalog {
  if (!catalog.order.includes(server)) return catalog;
  return withOrder(
    catalog,
    catalog.order.filter((other) => other !== server),
  );
}

/** These servers in this order: others are forgotten as by `without`, new ones have listed nothing. */
export function withOrder(catalog: Catalog, order: readonly string[]): Catalog {
  const before = stateOf(catalog);
  const declared = [...new Set(order)];
  const ranks = ranksOf(declared);
  let { names, resources, size } = before;
  const touched = new Set<string>();
  const gone: string[] = [];
  for (const server of before.order) {
    const entry = ranks.has(server) ? undefined : before.servers.get(server);
    if (entry === undefined) continue;
    gone.push(server);
    size -= 1;
    resources = resources.change(server, entry.sections, undefined);
    const change = names.release(server);
    names = change.registry;
    for (const other of change.touched) touched.add(other);
  }
  const change = names.declare(declared);
  for (const other of change.touched) touched.add(other);
  const servers = before.servers.edit((draft) => {
    for (const server of gone) draft.delete(server);
    nameAgain(draft, touched);
  });
  return new Snapshot({
    order: declared,
    ranks,
    servers,
    size,
    names: change.registry,
    resources,
    reports: [],
  });
}

function stateOf(catalog: Catalog): State {
  return snapshotOf(catalog).state;
}

function snapshotOf(catalog: Catalog): Snapshot {
  if (catalog instanceof Snapshot) return catalog;
  throw new TroupeError('internal', 'this catalog was not made by createCatalog');
}

function ranksOf(order: readonly string[]): ReadonlyMap<string, number> {
  return new Map(order.map((server, i) => [server, i]));
}

/** A list that has not changed keeps its section, and with it everything built from it. */
function sectionOf<K extends ListKind>(
  kind: K,
  server: string,
  list: InventoryList<ItemOf[K]>,
  entry: ServerEntry | undefined,
): ListSection<K> {
  const known = entry?.sections[kind] as ListSection<K> | undefined;
  if (known?.list === list) return known;
  return known === undefined ? new ListSection(kind, server, list) : known.next(list);
}

/** Their names may be shown differently now: what was built from them is built anew when asked for. */
function nameAgain(servers: MapDraft<ServerEntry>, touched: ReadonlySet<string>): void {
  for (const server of touched) {
    const entry = servers.get(server);
    if (entry === undefined) continue;
    const { inventory, sections } = entry;
    servers.set(server, {
      inventory,
      sections: {
        ...sections,
        tools: sections.tools.renamed(),
        prompts: sections.prompts.renamed(),
      },
    });
  }
}

type JoinedLists = ReadonlyMap<ListKind, Joined<unknown>>;
const NOTHING_JOINED: JoinedLists = new Map();
const NOTHING_LISTED: readonly never[] = Object.freeze([]);

/** The entries of all servers in their order. */
type Row = readonly (ServerEntry | undefined)[];

/** Servers that have changed, and those that had before them. */
interface Changed {
  readonly servers: readonly string[];
  readonly before: Changed | undefined;
  /** Of all. */
  readonly count: number;
}

/** What a catalog has from those before it, whose servers stood in the same order. */
interface Remembered {
  readonly joined: JoinedLists;
  readonly row: Row | undefined;
  /** Since `row` was made. */
  readonly changed: Changed | undefined;
}
const NOTHING_REMEMBERED: Remembered = { joined: NOTHING_JOINED, row: undefined, changed: undefined };

class Snapshot implements Catalog {
  readonly state: State;
  readonly #lists = new Map<ListKind, Joined<unknown>>();
  #earlier: Remembered;
  #row: Row | undefined;
  /** By the name as it was asked for, and only what was found: there are at most as many as names that are held. */
  readonly #found = new Map<NamedKind, Map<string, unknown>>();

  constructor(state: State, earlier = NOTHING_REMEMBERED) {
    this.state = state;
    this.#earlier = earlier;
  }

  /** For the catalog after this one, in which `servers` have changed: most of it will be the same. */
  remembered(servers: readonly string[]): Remembered {
    const { joined, row, changed } = this.#earlier;
    return {
      joined: this.#lists.size === 0 ? joined : new Map([...joined, ...this.#lists]),
      ...(this.#row === undefined
        ? this.#since(row, servers, changed)
        : this.#since(this.#row, servers, undefined)),
    };
  }

  /** Where nobody looks at the whole, the changes become more than it has servers, and it is made anew. */
  #since(
    row: Row | undefined,
    servers: readonly string[],
    before: Changed | undefined,
  ): Omit<Remembered, 'joined'> {
    const count = (before?.count ?? 0) + servers.length;
    if (row === undefined || count > row.length) return { row: undefined, changed: undefined };
    return { row, changed: { servers, before, count } };
  }

  #entries(): Row {
    if (this.#row !== undefined) return this.#row;
    const { order, servers, ranks } = this.state;
    const { row: earlier, changed } = this.#earlier;
    const row = earlier === undefined ? order.map((server) => servers.get(server)) : [...earlier];
    for (let since = changed; since !== undefined; since = since.before)
      for (const server of since.servers) row[ranks.get(server) as number] = servers.get(server);
    this.#row = row;
    this.#earlier = { ...this.#earlier, row: undefined, changed: undefined };
    return row;
  }

  get naming(): Naming {
    return this.state.names.naming;
  }

  get order(): readonly string[] {
    return this.state.order;
  }

  get size(): number {
    return this.state.size;
  }

  get reports(): readonly NameReport[] {
    return this.state.reports;
  }

  tool(name: string, options?: LookupOptions): ListedOf<'tools'> {
    return this.#named('tools', name, options);
  }

  prompt(name: string, options?: LookupOptions): ListedOf<'prompts'> {
    return this.#named('prompts', name, options);
  }

  resource(uri: string, options?: LookupOptions): ResourceHolders {
    const { resources, servers, ranks } = this.state;
    const admits = (server: string): boolean => ranks.has(server) && admitsResource(options, server, uri);
    const found = resources.find(uri, (server) => servers.get(server)?.sections, admits);
    if (found === undefined) throw this.#notFound('resources', uri, options);
    return {
      by: found.by,
      servers: [...found.servers].sort((a, b) => (ranks.get(a) ?? Infinity) - (ranks.get(b) ?? Infinity)),
    };
  }

  inventory(server: string): Inventory | undefined {
    return this.state.servers.get(server)?.inventory;
  }

  known<K extends ListKind>(server: string, kind: K, items: readonly ItemOf[K][]): readonly ItemOf[K][] {
    return this.#section(server, kind)?.known(items) ?? items;
  }

  list<K extends ListKind>(kind: K): readonly ListedOf<K>[] {
    let known = this.#lists.get(kind);
    if (known === undefined) {
      const lists = this.#entries().map((entry) => this.#built(entry?.sections[kind]));
      known = rejoined(this.#earlier.joined.get(kind), lists);
      this.#lists.set(kind, known);
    }
    return known.items as readonly ListedOf<K>[];
  }

  listOf<K extends ListKind>(server: string, kind: K): readonly ListedOf<K>[] {
    return this.#built(this.#section(server, kind));
  }

  parts<K extends ListKind>(kind: K, servers?: readonly string[]): readonly ListPart<ListedOf<K>>[] {
    const wanted = servers === undefined ? undefined : new Set(servers);
    const parts: ListPart<ListedOf<K>>[] = [];
    for (const entry of this.#entries()) {
      if (entry === undefined) continue;
      const section: Sections[K] = entry.sections[kind];
      const { server, list } = section;
      if (wanted?.has(server) === false) continue;
      const { ttlMs, cacheScope, listedAt, stale, failure } = list;
      parts.push({ server, items: this.#built(section), ttlMs, cacheScope, listedAt, stale, failure });
    }
    return parts;
  }

  unbuilt(kind: ListKind): readonly string[] {
    const servers: string[] = [];
    for (const entry of this.#entries()) {
      const section = entry?.sections[kind];
      if (section !== undefined && section.built === undefined) servers.push(section.server);
    }
    return servers;
  }

  #built<K extends ListKind>(section: ListSection<K> | undefined): readonly ListedOf<K>[] {
    if (section === undefined) return NOTHING_LISTED;
    return section.built ?? section.listed(this.#exposed(section.server, section.kind));
  }

  #section<K extends ListKind>(server: string, kind: K): Sections[K] | undefined {
    return this.state.servers.get(server)?.sections[kind];
  }

  #exposed(server: string, kind: ListKind): (originalName: string) => string | undefined {
    return kind === 'tools' || kind === 'prompts' ? this.state.names.exposedBy(kind, server) : keepsItsName;
  }

  #named<K extends NamedKind>(kind: K, name: string, options: LookupOptions | undefined): ListedOf<K> {
    if (options !== undefined) return this.#lookUp(kind, name, options);
    // Names are folded and compared once: this catalog never changes, and what is asked for once is asked for again.
    let known = this.#found.get(kind)?.get(name);
    if (known === undefined) {
      known = this.#lookUp(kind, name, undefined);
      const found = this.#found.get(kind) ?? new Map<string, unknown>();
      this.#found.set(kind, found.set(name, known));
    }
    return known as ListedOf<K>;
  }

  #lookUp<K extends NamedKind>(kind: K, name: string, options: LookupOptions | undefined): ListedOf<K> {
    const admits = admission(options);
    const match = this.state.names.find(kind, name, admits);
    if (match.is === 'ambiguous') throw this.#ambiguous(kind, name, match.holders);
    if (match.is === 'found') {
      const { server, originalName } = match.holder;
      const item = this.#section(server, kind)?.item(originalName, this.#exposed(server, kind));
      if (item !== undefined) return item;
    }
    if (match.is === 'kept' && (admits?.(match.holder) ?? true)) {
      const { server, originalName } = match.holder;
      throw new TroupeError(
        'not_found',
        `the server does not list the ${WORD[kind]} ${quoted(originalName)} any more`,
        {
          server,
          data: { name: name.slice(0, MAX_NAME_IN_DATA) },
        },
      );
    }
    throw this.#notFound(kind, name, options);
  }

  /** With near names; worth some milliseconds, so only made when it is thrown. */
  #notFound(kind: ListKind, name: string, options: LookupOptions | undefined): TroupeError {
    const near = nearNames(name, this.#candidates(kind, options));
    const hint = near.length === 0 ? '' : `; did you mean ${near.map(quoted).join(' or ')}?`;
    const asked = options?.servers;
    const who = asked === undefined ? 'no server has' : `of ${asked.map(quoted).join(', ')} none has`;
    return new TroupeError('not_found', `${who} the ${WORD[kind]} ${quoted(name)}${hint}`, {
      data: { name: name.slice(0, MAX_NAME_IN_DATA), near },
    });
  }

  #ambiguous(kind: NamedKind, name: string, holders: readonly NameHolder[]): TroupeError {
    const { names, ranks } = this.state;
    const candidates = holders
      .map((holder) => ({ server: holder.server, name: names.exposed(kind, holder) }))
      .sort((a, b) => (ranks.get(a.server) ?? Infinity) - (ranks.get(b.server) ?? Infinity));
    const spelled = candidates
      .slice(0, MAX_SPELLED)
      .map((c) => `${quoted(c.name)} (server ${quoted(c.server)})`);
    const more = candidates.length > MAX_SPELLED ? ` and ${candidates.length - MAX_SPELLED} more` : '';
    return new TroupeError(
      'ambiguous_name',
      `several servers have the ${WORD[kind]} ${quoted(name)}: ${spelled.join(', ')}${more}; use one of these names, or say which server with "servers"`,
      { data: { name: name.slice(0, MAX_NAME_IN_DATA), candidates: candidates.slice(0, MAX_CANDIDATES) } },
    );
  }

  *#candidates(
    kind: ListKind,
    options: LookupOptions | undefined,
  ): Generator<{ name: string; alias: string }> {
    const { names, servers, order } = this.state;
    const admits = admission(options);
    for (const server of order) {
      for (const id of servers.get(server)?.sections[kind].ids() ?? []) {
        if (kind === 'tools' || kind === 'prompts') {
          const holder = names.holder(kind, server, id);
          if (holder !== undefined && (admits?.(holder) ?? true))
            yield { name: names.exposed(kind, holder), alias: id };
        } else if (admitsResource(options, server, id)) yield { name: id, alias: id };
      }
    }
  }
}

const keepsItsName = (): undefined => undefined;

function admission(options: LookupOptions | undefined): ((holder: NameHolder) => boolean) | undefined {
  const servers = options?.servers;
  const visible = options?.visible;
  if (servers === undefined && visible === undefined) return undefined;
  return ({ server, originalName }) =>
    (servers === undefined || servers.includes(server)) &&
    (visible === undefined || visible(server, originalName));
}

function admitsResource(options: LookupOptions | undefined, server: string, uri: string): boolean {
  if (options?.servers?.includes(server) === false) return false;
  return options?.visible === undefined || options.visible(server, uri);
}
