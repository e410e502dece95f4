import { withInventory, type Catalog } from '../catalog/catalog.ts';
import { emptyInventory, type Inventory } from '../catalog/inventory.ts';
import type { ResolvedServer } from '../config/config.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Principal } from '../core/request.ts';
import type { Catalogs } from './catalogs.ts';
import { scopeOf, type CredentialScope } from './credential-scope.ts';
import type { Server } from './server.ts';

/** The fleet as one principal has it: its own connections and lists where credentials differ, those of all elsewhere. */
export interface View {
  /** By name, in order of declaration. */
  readonly servers: ReadonlyMap<string, Server>;
  readonly catalog: () => Catalog;
  readonly knows: (server: string, kind: ListKind) => boolean;
  /** By which name the tools of a server are pinned. */
  readonly pinName: (server: string) => string;
}

export interface ScopesOptions {
  readonly clock: Clock;
  /** The engine's own principal: the connections of the server itself are its. */
  readonly principal: Principal | undefined;
  /** Servers by name; whoever changes the map says so with `changed`. */
  readonly servers: ReadonlyMap<string, Server>;
  readonly catalogs: Pick<Catalogs, 'current' | 'knows'>;
  /** Connects nothing. */
  readonly create: (config: ResolvedServer, scope: CredentialScope) => Scoped;
  /** A scope was closed and is forgotten. */
  readonly onDropped: (server: Server, pinName: string) => void;
}

/** A server under the credentials of one scope, and what it lists to them. */
export interface Scoped {
  readonly server: Server;
  readonly catalogs: Pick<Catalogs, 'current' | 'knows'>;
}

interface Member extends Scoped {
  readonly label: string;
  readonly idleMs: number;
  usedAt: number;
}

/** Views kept at most; making one anew is cheap, the connections are not in it. */
const MAX_VIEWS = 1_024;
/** How long a scope that is forgotten may take to close, milliseconds; nothing is in flight then. */
const CLOSE_MS = 1_000;

/**
 * Which connections a request may use. Where the credentials of a server belong to principals or tenants (`auth.per`),
 * each has connections, sessions, lists, memory and subscriptions of its own, opened by its first request and closed
 * after `auth.idleMs` without one. Elsewhere this costs one comparison.
 */
export class Scopes {
  readonly #options: ScopesOptions;
  readonly #members = new Map<string, Map<string, Member>>();
  readonly #views = new Map<string, MemberView>();
  readonly #everybody: View;
  #any = false;
  #closed = false;
  #sweep: Disarm | undefined;

  constructor(options: ScopesOptions) {
    this.#options = options;
    const { servers, catalogs } = options;
    this.#everybody = {
      servers,
      catalog: catalogs.current,
      knows: catalogs.knows,
      pinName: (server) => server,
    };
  }

  /** The connections to a server that a request of `principal` uses. */
  server(name: string, principal: Principal | undefined): Server | undefined {
    return this.#any ? this.view(principal).servers.get(name) : this.#options.servers.get(name);
  }

  view(principal: Principal | undefined): View {
    if (!this.#any || principal === undefined) return this.#everybody;
    const key = JSON.stringify([principal.id, principal.tenant]);
    let view = this.#views.get(key);
    if (view === undefined) {
      if (this.#views.size >= MAX_VIEWS) this.#views.clear();
      view = new MemberView(this.#everybody, this.#membersOf(principal));
      this.#views.set(key, view);
    }
    view.touch(this.#options.clock.now());
    return view;
  }

  /** Each server, then its scopes. */
  *all(): Iterable<Server> {
    for (const server of this.#options.servers.values()) {
      yield server;
      for (const member of this.#members.get(server.name)?.values() ?? []) yield member.server;
    }
  }

  /** By its name, by `name@scope`, or by the id of one of its connections. */
  find(id: string): { readonly server: Server; readonly pinName: string } | undefined {
    const named = this.#options.servers.get(id);
    if (named !== undefined) return { server: named, pinName: id };
    for (const server of this.all()) {
      const pinName = this.#pinName(server);
      if (pinName === id || server.replicas.some(({ connection }) => connection.id === id))
        return { server, pinName };
    }
    return undefined;
  }

  /** A server was added or removed. */
  changed(): void {
    this.#views.clear();
    this.#any = false;
    for (const { config } of this.#options.servers.values())
      if ((config.auth?.per ?? 'server') !== 'server') this.#any = true;
  }

  /** Ends all scopes of a server. */
  async remove(name: string, graceMs: number, reason?: TroupeError): Promise<void> {
    const members = this.#members.get(name);
    if (members === undefined) return;
    await Promise.all([...members.values()].map((member) => this.#drop(member, graceMs, reason)));
  }

  /** The engine stops: no scope is made any more, and those that there are end with it. */
  close(): void {
    this.#closed = true;
    this.#sweep?.();
    this.#sweep = undefined;
  }

  #membersOf(principal: Principal): Member[] {
    const found: Member[] = [];
    for (const { config } of this.#options.servers.values()) {
      const scope = scopeOf(config, principal);
      if (scope === undefined || scope.label === scopeOf(config, this.#options.principal)?.label) continue;
      found.push(this.#member(config, scope));
    }
    return found;
  }

  #member(config: ResolvedServer, scope: CredentialScope): Member {
    let members = this.#members.get(config.name);
    if (members === undefined) {
      members = new Map<string, Member>();
      this.#members.set(config.name, members);
    }
    let member = members.get(scope.label);
    if (member === undefined) {
      // Not those of another instead: a request that is still under way ends here.
      if (this.#closed) throw new TroupeError('stopped', 'the engine was stopped', { server: config.name });
      const { clock, create } = this.#options;
      const idleMs = config.auth?.idleMs ?? Infinity;
      member = { ...create(config, scope), label: scope.label, idleMs, usedAt: clock.now() };
      members.set(scope.label, member);
      this.#armSweep();
    }
    return member;
  }

  #pinName(server: Server): string {
    for (const member of this.#members.get(server.name)?.values() ?? [])
      if (member.server === server) return scopedName(member);
    return server.name;
  }

  #armSweep(): void {
    if (this.#sweep !== undefined || this.#closed) return;
    let soonest = Infinity;
    for (const members of this.#members.values())
      for (const { idleMs } of members.values()) soonest = Math.min(soonest, idleMs);
    if (soonest === Infinity) return;
    this.#sweep = this.#options.clock.after(
      Math.max(1, soonest / 2),
      () => {
        this.#sweep = undefined;
        this.#dropIdle();
        this.#armSweep();
      },
      { unref: true },
    );
  }

  #dropIdle(): void {
    const now = this.#options.clock.now();
    for (const members of this.#members.values()) {
      for (const member of members.values()) {
        if (now - member.usedAt >= member.idleMs && isIdle(member.server)) void this.#drop(member, CLOSE_MS);
      }
    }
  }

  async #drop(member: Member, graceMs: number, reason?: TroupeError): Promise<void> {
    const { server, label } = member;
    const members = this.#members.get(server.name);
    if (members?.get(label) !== member) return;
    members.delete(label);
    if (members.size === 0) this.#members.delete(server.name);
    this.#views.clear();
    await server.stop(graceMs, reason);
    this.#options.onDropped(server, scopedName(member));
  }
}

/** As in the ids of connections. */
function scopedName({ server, label }: Member): string {
  return `${server.name}@${label}`;
}

/** Nothing runs, waits, is watched or is about to connect. */
function isIdle({ pool, watched, replicas }: Server): boolean {
  return (
    pool.inFlight === 0 &&
    pool.waiting === 0 &&
    watched.size === 0 &&
    replicas.every(
      ({ connection }) => connection.state !== 'Connecting' && connection.state !== 'Initializing',
    )
  );
}

class MemberView implements View {
  readonly servers: ReadonlyMap<string, Server>;
  readonly #everybody: View;
  readonly #members: ReadonlyMap<string, Member>;
  #base: Catalog | undefined;
  #inventories: readonly (Inventory | undefined)[] = [];
  #catalog: Catalog | undefined;

  constructor(everybody: View, members: readonly Member[]) {
    this.#everybody = everybody;
    this.#members = new Map(members.map((member) => [member.server.name, member]));
    this.servers = new Map(
      [...everybody.servers].map(([name, server]) => [name, this.#members.get(name)?.server ?? server]),
    );
  }

  touch(now: number): void {
    for (const member of this.#members.values()) member.usedAt = now;
  }

  /** The catalog of all, with the principal's own lists in place of those of the engine. */
  readonly catalog = (): Catalog => {
    const base = this.#everybody.catalog();
    const inventories = Array.from(this.#members, ([name, { catalogs }]) =>
      catalogs.current().inventory(name),
    );
    if (
      this.#catalog === undefined ||
      this.#base !== base ||
      inventories.some((inventory, i) => inventory !== this.#inventories[i])
    ) {
      let catalog = base;
      let i = 0;
      for (const name of this.#members.keys())
        catalog = withInventory(catalog, name, inventories[i++] ?? emptyInventory(name, 0));
      this.#base = base;
      this.#inventories = inventories;
      this.#catalog = catalog;
    }
    return this.#catalog;
  };

  readonly knows = (server: string, kind: ListKind): boolean =>
    (this.#members.get(server)?.catalogs ?? this.#everybody).knows(server, kind);

  readonly pinName = (server: string): string => {
    const member = this.#members.get(server);
    return member === undefined ? server : scopedName(member);
  };
}
