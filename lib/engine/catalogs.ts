import { mergeLists } from '../catalog/aggregate.ts';
import { createCatalog, withInventory, withOrder, without, type Catalog } from '../catalog/catalog.ts';
import {
  checkItems,
  emptyInventory,
  staleInventory,
  type CheckedItems,
  type Inventory,
  type InventoryList,
  type ItemOf,
} from '../catalog/inventory.ts';
import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { RawList } from '../mcp/session/list.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import { admitsTool, refusesTools } from './admitted-tools.ts';
import type { Listed, ListResult } from './contract.ts';
import type { ItemFlags } from './item-flags.ts';
import type { Replica } from './replica.ts';
import type { Server } from './server.ts';
import { LIST_KINDS } from './session-lists.ts';
import type { Trust } from './trust.ts';

/** Which servers were asked, and why some could not be had. */
interface Listing {
  readonly asked: readonly string[];
  readonly errors: ReadonlyMap<string, TroupeError>;
}

/** What all servers list, as one catalog that is swapped whole; lists come in, lookups go out. */
export interface Catalogs {
  readonly current: () => Catalog;
  /** Whether the server has ever said what it has of this kind. */
  readonly knows: (server: string, kind: ListKind) => boolean;
  /**
   * A list of a session has arrived: malformed items are skipped and told, the rest replaces the server's list. Gives back
   * the list with what says the same as before as the objects that are known: nobody needs to hold both.
   */
  listed(server: Server, replica: Replica, kind: ListKind, list: RawList): RawList;
  /** A server has lost or found its last connection: its items are stale, or not any more. */
  connectionChanged(server: Server): void;
  /** Of this catalog, or of one that a principal has; `pinName`: by which name the tools of a server are pinned there. */
  readonly aggregate: (
    kind: ListKind,
    listing: Listing,
    of?: { readonly catalog: Catalog; readonly pinName: (server: string) => string },
  ) => ListResult;
  readonly counts: (server: string) => Json;
  forget(server: string): void;
  reorder(names: readonly string[]): void;
}

export function createCatalogs(deps: {
  readonly config: Config;
  readonly clock: Clock;
  readonly bus: EventBus;
  readonly trust: () => Pick<Trust, 'review' | 'held' | 'fingerprints'>;
  readonly flags: Pick<ItemFlags, 'inspect'>;
}): Catalogs {
  const { config, clock, bus } = deps;
  const listedKinds = new Map<string, Set<ListKind>>();
  /** Whose lists stand in the catalog, by server. */
  const speakers = new Map<string, Replica>();
  let catalog: Catalog = createCatalog(
    config.servers.map((server) => server.name),
    config.naming,
  );

  const put = (server: string, inventory: Inventory, kinds: readonly ListKind[]): void => {
    catalog = withInventory(catalog, server, inventory);
    for (const { name, servers, reason } of catalog.reports) {
      bus.emit({ type: 'catalog.name_clashed', at: clock.wallTime(), name, servers, reason });
    }
    if (kinds.length > 0) bus.emit({ type: 'catalog.changed', at: clock.wallTime(), server, kinds });
  };

  const knows = (server: string, kind: ListKind): boolean => listedKinds.get(server)?.has(kind) === true;

  const listed = (server: Server, replica: Replica, kind: ListKind, raw: RawList): RawList => {
    const { lastSession } = replica;
    const { items, skipped } = checkItems(kind, raw.items, {
      httpHeaders: lastSession?.era === 'modern' && lastSession.transport === 'streamable-http',
    });
    const offered = kind === 'tools' ? selected(items, server) : items;
    const kept = catalog.known(server.name, kind, offered);
    if (kind === 'tools') {
      lastSession?.knowTools(kept);
      replica.offered = deps.trust().fingerprints?.(kept);
      server.toolsListed(replica, kept);
    }
    took(server, replica, kind, raw, { items: kept, skipped });
    return withKept(raw, offered, kept);
  };

  const took = (
    server: Server,
    replica: Replica,
    kind: ListKind,
    raw: RawList,
    { items, skipped }: CheckedItems<ItemOf[ListKind]>,
  ): void => {
    const { speaker } = server;
    if (speakerChanged(server) && speaker === replica) return;
    // Replicas offer the same things: one speaks for the server, and what it has not said yet any other may say.
    if (speaker !== replica && knows(server.name, kind)) return;
    for (const { item, reason } of skipped) {
      bus.emit({
        type: 'catalog.item_skipped',
        at: clock.wallTime(),
        server: server.name,
        kind,
        item,
        reason,
      });
    }
    // Before it is exposed: nobody shall see or call what has not been looked at and compared with what was accepted.
    const before = catalog.inventory(server.name) ?? emptyInventory(server.name, clock.now());
    deps.flags.inspect(server.name, kind, items);
    if (kind === 'tools') deps.trust().review(server.config, items);
    const list = {
      items,
      listedAt: clock.now(),
      ...(raw.ttlMs === undefined ? {} : { ttlMs: raw.ttlMs }),
      ...(raw.cacheScope === undefined ? {} : { cacheScope: raw.cacheScope }),
      ...(raw.cut === undefined ? {} : { failure: raw.cut }),
    };
    const isNews = !knows(server.name, kind) || tells(before[kind], list);
    const known = listedKinds.get(server.name) ?? new Set();
    listedKinds.set(server.name, known.add(kind));
    put(server.name, { ...before, [kind]: list }, isNews ? [kind] : []);
  };

  /** Another replica speaks than before: what it has listed so far is told again. True where there was another. */
  const speakerChanged = (server: Server): boolean => {
    const { speaker } = server;
    const before = speakers.get(server.name);
    if (speaker === undefined || speaker === before) return false;
    speakers.set(server.name, speaker);
    if (before === undefined) return false;
    for (const [kind, raw] of speaker.lists?.known ?? []) listed(server, speaker, kind, raw);
    return true;
  };

  return {
    current: () => catalog,
    knows,
    listed,

    connectionChanged(server) {
      speakerChanged(server);
      const known = catalog.inventory(server.name);
      if (known === undefined) return;
      const down = server.connected === undefined && server.error !== undefined;
      const stale = known.tools.stale === true;
      if (down && !stale)
        put(server.name, staleInventory(known, server.error ?? lost(server.name)), LIST_KINDS);
    },

    aggregate(kind, { asked, errors }, of) {
      const from = of?.catalog ?? catalog;
      const known = from.parts(kind, areThese(asked, from.order) ? undefined : asked);
      const parts =
        errors.size === 0
          ? known
          : known.map((part) => {
              const error = errors.get(part.server);
              return error === undefined ? part : { ...part, failure: error, stale: true };
            });
      const merged = mergeLists<Json & Listed>(
        parts.length === asked.length ? parts : [...parts, ...missing(asked, errors, parts)],
        clock.now(),
        wholeOf(from, kind, parts),
      );
      const held = kind === 'tools' ? deps.trust().held : undefined;
      const items =
        held === undefined
          ? merged.items
          : merged.items.filter(
              ({ server, originalName }) => !held(of?.pinName(server) ?? server, originalName),
            );
      return { items, failures: merged.failures, ttlMs: merged.ttlMs, cacheScope: merged.cacheScope };
    },

    counts(server) {
      const inventory = catalog.inventory(server);
      return Object.fromEntries(LIST_KINDS.map((kind) => [kind, inventory?.[kind].items.length ?? 0]));
    },

    forget(server) {
      listedKinds.delete(server);
      speakers.delete(server);
      catalog = without(catalog, server);
    },

    reorder(names) {
      catalog = withOrder(catalog, names);
    },
  };
}

function areThese(names: readonly string[], others: readonly string[]): boolean {
  if (names.length !== others.length) return false;
  for (let i = 0; i < names.length; i += 1) if (names[i] !== others[i]) return false;
  return true;
}

/** What the parts are together, where nothing of the catalog is missing in them: it is remembered from one list to the next. */
function wholeOf(
  catalog: Catalog,
  kind: ListKind,
  parts: readonly unknown[],
): readonly (Json & Listed)[] | undefined {
  return parts.length === catalog.size ? catalog.list(kind) : undefined;
}

/** Whether there is anything in `after` for those who know `before`. */
function tells(before: InventoryList<unknown>, after: InventoryList<unknown>): boolean {
  return (
    before.items !== after.items ||
    before.stale !== after.stale ||
    before.failure !== undefined ||
    after.failure !== undefined
  );
}

function withKept(raw: RawList, offered: readonly unknown[], kept: readonly unknown[]): RawList {
  const known = new Map<unknown, unknown>();
  for (let i = 0; i < offered.length; i += 1) if (offered[i] !== kept[i]) known.set(offered[i], kept[i]);
  return known.size === 0 ? raw : { ...raw, items: raw.items.map((item) => known.get(item) ?? item) };
}

/** Servers that have never listed anything are failures without items. */
function missing(
  asked: readonly string[],
  errors: ReadonlyMap<string, TroupeError>,
  parts: readonly { readonly server: string }[],
): { server: string; items: readonly (Json & Listed)[]; failure: TroupeError | undefined }[] {
  const listed = new Set(parts.map(({ server }) => server));
  return asked
    .filter((server) => !listed.has(server))
    .map((server) => ({ server, items: [], failure: errors.get(server) }));
}

/** The tools that the configuration of the server admits; original names. */
function selected<T extends Json>(tools: readonly T[], server: Server): readonly T[] {
  const rules = server.config.tools;
  return refusesTools(rules) ? tools.filter((tool) => admitsTool(rules, tool['name'])) : tools;
}

function lost(server: string): TroupeError {
  return new TroupeError('connection_lost', 'the connection is gone', { server });
}
