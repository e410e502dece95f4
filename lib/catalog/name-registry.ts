import { NameGroup } from './name-group.ts';
import { fitsModels, foldName, hashedName, quoted, readablePart, SEPARATOR, withHash } from './name-text.ts';
import { wishedName, type Naming, type NameWish } from './naming.ts';
import { PersistentMap, type MapDraft } from './persistent-map.ts';

/** What has names of its own. Resources keep their URI. */
export type NamedKind = 'tools' | 'prompts';

/** A server, what it calls the thing, and the name that was given to it: unique among its kind and kept. */
export interface NameHolder {
  readonly server: string;
  readonly originalName: string;
  readonly name: string;
}

/** A name that is not what one would expect, and why; becomes the event `catalog.name_clashed`. */
export interface NameReport {
  readonly kind: NamedKind;
  readonly server: string;
  readonly originalName: string;
  /** The name given. */
  readonly name: string;
  /** Everyone concerned, the server itself included. */
  readonly servers: readonly string[];
  readonly reason: string;
}

type NameMatch =
  | { readonly is: 'found'; readonly holder: NameHolder }
  | { readonly is: 'ambiguous'; readonly holders: readonly NameHolder[] }
  /** The name is kept for a holder that is not listed now, or not admitted. */
  | { readonly is: 'kept'; readonly holder: NameHolder }
  | { readonly is: 'unknown' };

interface NameChange {
  readonly registry: NameRegistry;
  readonly reports: readonly NameReport[];
  /** Other servers whose exposed names may differ now; only with `transparent`. */
  readonly touched: ReadonlySet<string>;
}

export interface NameRegistry {
  readonly naming: Naming;
  /**
   * The server now lists exactly `originals`. Who already has a name keeps it; a newcomer whose name is taken, or
   * looks like one that is taken, gets another with a hash. What is no longer listed keeps its name for its return.
   */
  claim(kind: NamedKind, server: string, originals: Iterable<string>): NameChange;
  /** The server is gone for good and its names are free. */
  release(server: string): NameChange;
  /** The servers there are, listed or not: no other server's bare name may begin with `<server>__`. */
  declare(servers: readonly string[]): NameChange;
  /** The kept name of a holder, whether listed now or not. */
  holder(kind: NamedKind, server: string, originalName: string): NameHolder | undefined;
  /** What lists show: the kept name, or with `transparent` the original name where it is nobody else's. */
  exposed(kind: NamedKind, holder: NameHolder): string;
  /** `exposed` for everything of one server, by original name. */
  exposedBy(kind: NamedKind, server: string): (originalName: string) => string | undefined;
  /** Exact kept name first; then an original name, where one server only has it. */
  find(kind: NamedKind, name: string, admits?: (holder: NameHolder) => boolean): NameMatch;
}

/** Immutable: every change gives a new registry, and the old one keeps answering as before. */
export function createNameRegistry(options: {
  readonly naming: Naming;
  readonly servers?: readonly string[];
}): NameRegistry {
  return new Registry(options.naming, prefixesOf(options.servers ?? []), {
    tools: noNames(),
    prompts: noNames(),
  });
}

/** Names kept for things a server no longer lists; the default limit of one list (reliability §8). */
const MAX_REMEMBERED = 10_000;

interface ServerNames {
  readonly holders: ReadonlyMap<string, NameHolder>;
  readonly listed: ReadonlySet<string>;
}

interface KindNames {
  /** By folded kept name. */
  readonly owners: PersistentMap<NameHolder>;
  /** By folded original name: those listed now. */
  readonly bare: PersistentMap<NameGroup>;
  readonly servers: PersistentMap<ServerNames>;
}

interface Prefixes {
  readonly servers: ReadonlyMap<string, ReadonlySet<string>>;
  readonly longest: number;
}

/** Anew for each registry: a shared empty map would be the oldest version of all of them and keep them alive. */
function noNames(): KindNames {
  return { owners: PersistentMap.empty(), bare: PersistentMap.empty(), servers: PersistentMap.empty() };
}

const NO_SERVER: ServerNames = { holders: new Map(), listed: new Set() };
const NOBODY: ReadonlySet<string> = new Set();
const UNKNOWN: NameMatch = { is: 'unknown' };

class Registry implements NameRegistry {
  readonly naming: Naming;
  readonly #prefixes: Prefixes;
  readonly #kinds: Readonly<Record<NamedKind, KindNames>>;

  constructor(naming: Naming, prefixes: Prefixes, kinds: Readonly<Record<NamedKind, KindNames>>) {
    this.naming = naming;
    this.#prefixes = prefixes;
    this.#kinds = kinds;
  }

  claim(kind: NamedKind, server: string, originals: Iterable<string>): NameChange {
    const names = this.#kinds[kind];
    const before = names.servers.get(server) ?? NO_SERVER;
    const listed = setOf(originals);
    if (sameSet(before.listed, listed)) return { registry: this, reports: [], touched: NOBODY };

    // The naming function is foreign code: all of it runs before anything changes.
    const wishes: [original: string, wish: NameWish][] = [];
    for (const original of listed) {
      if (!before.holders.has(original)) wishes.push([original, wishedName(server, original, this.naming)]);
    }
    const holders = new Map(before.holders);
    const forgotten = forgetOldest(holders, listed);
    const newKeys: string[] = [];
    const reports: NameReport[] = [];
    const touched = new Set<string>();
    const transparent = this.naming === 'transparent';

    const owners = names.owners.edit((draft) => {
      for (const { name } of forgotten) draft.delete(foldName(name));
      for (const [original, wish] of wishes) {
        const holder = this.#settle(draft, kind, server, original, wish, reports);
        holders.set(original, holder);
        if (transparent) newKeys.push(foldName(holder.name));
      }
    });
    const bare = names.bare.edit((draft) => {
      for (const original of before.listed) {
        if (!listed.has(original)) removeBare(draft, before.holders.get(original), touched);
      }
      for (const original of listed) {
        if (before.listed.has(original)) continue;
        const holder = holders.get(original) as NameHolder;
        const others = addBare(draft, holder, touched);
        if (transparent && others !== undefined) reportShared(reports, kind, holder, others);
      }
      if (!transparent) return;
      // A bare name gives way where it equals a name that has just been given or is free again.
      for (const { name } of forgotten) touch(draft.get(foldName(name)), touched);
      for (const key of newKeys) touch(draft.get(key), touched);
    });
    touched.delete(server);
    const servers = names.servers.edit((draft) => draft.set(server, { holders, listed }));
    const registry = new Registry(this.naming, this.#prefixes, {
      ...this.#kinds,
      [kind]: { owners, bare, servers },
    });
    return { registry, reports, touched: transparent ? touched : NOBODY };
  }

  /** Gives the wished name where it is free, else the first free one with a hash. */
  #settle(
    owners: MapDraft<NameHolder>,
    kind: NamedKind,
    server: string,
    originalName: string,
    wish: NameWish,
    reports: NameReport[],
  ): NameHolder {
    let { name } = wish;
    let key = foldName(name);
    const owner = owners.get(key);
    for (let salt = 0, taken = owner; taken !== undefined; salt += 1) {
      name =
        typeof this.naming === 'function'
          ? withHash(wish.name, server, originalName, salt)
          : hashedName(server, originalName, salt);
      key = foldName(name);
      taken = owners.get(key);
    }
    const holder = { server, originalName, name };
    owners.set(key, holder);
    if (owner !== undefined) {
      const how = owner.name === wish.name ? 'is held' : `looks like ${quoted(owner.name)}, which is held`;
      const reason = `the name ${quoted(wish.name)} ${how} by ${quoted(owner.originalName)} of server ${quoted(owner.server)}`;
      const servers = owner.server === server ? [server] : [owner.server, server];
      reports.push({ kind, ...holder, servers, reason });
    } else if (wish.problem !== undefined) {
      reports.push({ kind, ...holder, servers: [server], reason: wish.problem });
    }
    return holder;
  }

  release(server: string): NameChange {
    const touched = new Set<string>();
    const without = (names: KindNames): KindNames => {
      const gone = names.servers.get(server);
      if (gone === undefined) return names;
      return {
        owners: names.owners.edit((draft) => {
          for (const holder of gone.holders.values()) draft.delete(foldName(holder.name));
        }),
        bare: names.bare.edit((draft) => {
          for (const original of gone.listed) removeBare(draft, gone.holders.get(original), touched);
          for (const holder of gone.holders.values()) touch(draft.get(foldName(holder.name)), touched);
        }),
        servers: names.servers.edit((draft) => draft.delete(server)),
      };
    };
    const kinds = { tools: without(this.#kinds.tools), prompts: without(this.#kinds.prompts) };
    touched.delete(server);
    return {
      registry: new Registry(this.naming, this.#prefixes, kinds),
      reports: [],
      touched: this.naming === 'transparent' ? touched : NOBODY,
    };
  }

  declare(servers: readonly string[]): NameChange {
    const prefixes = prefixesOf(servers);
    const registry = new Registry(this.naming, prefixes, this.#kinds);
    const same =
      prefixes.servers.size === this.#prefixes.servers.size &&
      [...prefixes.servers].every(([prefix, owners]) =>
        sameSet(owners, this.#prefixes.servers.get(prefix) ?? NOBODY),
      );
    // With `transparent`, whether a bare name may be shown depends on who is declared.
    return {
      registry,
      reports: [],
      touched: this.naming === 'transparent' && !same ? new Set(servers) : NOBODY,
    };
  }

  holder(kind: NamedKind, server: string, originalName: string): NameHolder | undefined {
    return this.#kinds[kind].servers.get(server)?.holders.get(originalName);
  }

  exposed(kind: NamedKind, holder: NameHolder): string {
    if (this.naming !== 'transparent' || !fitsModels(holder.originalName)) return holder.name;
    const names = this.#kinds[kind];
    const key = foldName(holder.originalName);
    const group = names.bare.get(key);
    if (group === undefined || group.size !== 1 || group.first !== holder) return holder.name;
    const owner = names.owners.get(key);
    if (owner !== undefined && owner !== holder) return holder.name;
    return this.#isReserved(holder) ? holder.name : holder.originalName;
  }

  exposedBy(kind: NamedKind, server: string): (originalName: string) => string | undefined {
    const holders = this.#kinds[kind].servers.get(server)?.holders;
    if (this.naming !== 'transparent') return (originalName) => holders?.get(originalName)?.name;
    return (originalName) => {
      const holder = holders?.get(originalName);
      return holder && this.exposed(kind, holder);
    };
  }

  find(kind: NamedKind, name: string, admits?: (holder: NameHolder) => boolean): NameMatch {
    const names = this.#kinds[kind];
    const key = foldName(name);
    const owner = names.owners.get(key);
    if (owner !== undefined && owner.name === name) {
      // Never falls through to somebody else's bare name: that would capture a name once given.
      const here = isListed(names, owner) && (admits === undefined || admits(owner));
      return { is: here ? 'found' : 'kept', holder: owner };
    }
    const group = names.bare.get(key);
    if (group === undefined) return UNKNOWN;
    const candidates = group.filter((holder) => (admits?.(holder) ?? true) && !this.#isReserved(holder));
    const exact = candidates.filter((holder) => holder.originalName === name);
    const [first] = exact;
    if (first === undefined) return UNKNOWN;
    // Two servers whose names only look alike are as ambiguous as two whose names are equal.
    const others = candidates.filter((holder) => holder.server !== first.server);
    if (
      owner !== undefined &&
      owner.server !== first.server &&
      isListed(names, owner) &&
      (admits?.(owner) ?? true)
    ) {
      others.push(owner);
    }
    if (others.length > 0) return { is: 'ambiguous', holders: [...new Set([...exact, ...others])] };
    return { is: 'found', holder: first };
  }

  /** `github__create_issue` as the original name of another server than `github` is no name to be called by. */
  #isReserved(holder: NameHolder): boolean {
    const { servers, longest } = this.#prefixes;
    const name = holder.originalName;
    for (
      let at = name.indexOf(SEPARATOR, 1);
      at !== -1 && at <= longest;
      at = name.indexOf(SEPARATOR, at + 1)
    ) {
      const owners = servers.get(foldName(name.slice(0, at)));
      if (owners !== undefined && !owners.has(holder.server)) return true;
    }
    return false;
  }
}

function isListed(names: KindNames, holder: NameHolder): boolean {
  return names.servers.get(holder.server)?.listed.has(holder.originalName) === true;
}

function prefixesOf(servers: readonly string[]): Prefixes {
  const prefixes = new Map<string, Set<string>>();
  let longest = 0;
  for (const server of servers) {
    for (const prefix of [foldName(server), foldName(readablePart(server))]) {
      const owners = prefixes.get(prefix);
      if (owners === undefined) prefixes.set(prefix, new Set([server]));
      else owners.add(server);
      longest = Math.max(longest, prefix.length);
    }
  }
  return { servers: prefixes, longest };
}

function forgetOldest(holders: Map<string, NameHolder>, listed: ReadonlySet<string>): readonly NameHolder[] {
  let tooMany = -MAX_REMEMBERED;
  for (const original of holders.keys()) if (!listed.has(original)) tooMany += 1;
  const forgotten: NameHolder[] = [];
  if (tooMany <= 0) return forgotten;
  for (const [original, holder] of holders) {
    if (forgotten.length >= tooMany) break;
    if (listed.has(original)) continue;
    holders.delete(original);
    forgotten.push(holder);
  }
  return forgotten;
}

/** Returns those that had it already. */
function addBare(
  draft: MapDraft<NameGroup>,
  holder: NameHolder,
  touched: Set<string>,
): NameGroup | undefined {
  const key = foldName(holder.originalName);
  const group = draft.get(key);
  // From two on, all have their server in front already.
  if (group?.size === 1) touch(group, touched);
  draft.set(key, group === undefined ? NameGroup.of([holder]) : group.with(holder));
  return group;
}

function removeBare(draft: MapDraft<NameGroup>, holder: NameHolder | undefined, touched: Set<string>): void {
  if (holder === undefined) return;
  const key = foldName(holder.originalName);
  const rest = draft.get(key)?.without(holder);
  if (rest?.size === 1) touch(rest, touched);
  if (rest === undefined || rest.size === 0) draft.delete(key);
  else draft.set(key, rest);
}

function touch(group: NameGroup | undefined, touched: Set<string>): void {
  if (group !== undefined) for (const { server } of group) touched.add(server);
}

/** Servers spelled out in one report. */
const MAX_SPELLED = 10;

function reportShared(
  reports: NameReport[],
  kind: NamedKind,
  holder: NameHolder,
  others: Iterable<NameHolder>,
): void {
  const servers = new Set<string>();
  for (const { server } of others) {
    if (server !== holder.server) servers.add(server);
    if (servers.size === MAX_SPELLED) break;
  }
  if (servers.size === 0) return;
  servers.add(holder.server);
  const reason = `${quoted(holder.originalName)} is offered by several servers; each is exposed with its server in front`;
  reports.push({ kind, ...holder, servers: [...servers], reason });
}

function setOf(names: Iterable<string>): ReadonlySet<string> {
  return names instanceof Set ? (names as ReadonlySet<string>) : new Set(names);
}

function sameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  if (a.size !== b.size) return false;
  for (const member of a) if (!b.has(member)) return false;
  return true;
}
