import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import { Attempt, type Link, type StartGate } from '../connection/attempt.ts';
import { Connection, type ConnectionChange } from '../connection/connection.ts';
import type { ServerProcess } from '../connection/server-process.ts';
import type { Cancellation } from '../core/cancellation.ts';
import { TroupeError } from '../core/errors.ts';
import type { ConnectionState, Emit, ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger, Random } from '../core/ports.ts';
import type { Stages } from '../core/stages.ts';
import type { Credentials } from '../mcp/authorization/credentials.ts';
import { LIST_METHODS, type RawList } from '../mcp/session/list.ts';
import type { Session } from '../mcp/session/session.ts';
import type { Verdicts } from '../mcp/session/verdicts.ts';
import type { Validators } from '../mcp/wire/validators.ts';
import { createCache, type Cache } from '../resilience/cache.ts';
import { createRetryBudget, type RetryBudget } from '../resilience/retry-budget.ts';
import { createTokenBucket, type TokenBucket } from '../resilience/rate-limit.ts';
import { Affinity } from '../routing/affinity.ts';
import { agreement, toolsFingerprint } from '../routing/fingerprints.ts';
import { createPool, type ReplicaPool } from '../routing/pool.ts';
import { strategyOf } from '../routing/strategy-registry.ts';
import type { RoutingStrategy } from '../routing/strategy.ts';
import type { ConnectionPool, Pooled } from '../supervision/pool.ts';
import {
  NO_HISTORY,
  noteConnected,
  restartPolicy,
  type RestartHistory,
} from '../supervision/restart-policy.ts';
import type { Inbound } from './inbound.ts';
import { unless } from './listing.ts';
import { CHANGED_LISTS, SessionLists } from './session-lists.ts';
import type { Refusal } from './pinned-tools.ts';
import { candidate, type Replica } from './replica.ts';
import { ServerCredentials, type ServerCredentialsDeps } from './server-credentials.ts';
import { closeSessionPath, openSessionPath } from './session-path.ts';
import type { Slices } from './slices.ts';
import { priorOf, verdictKey } from './verdict-key.ts';
import { type MayHear, WatchedResources } from './watched-resources.ts';

export interface ServerDeps extends ServerCredentialsDeps {
  readonly random: Random;
  readonly logger: Logger;
  readonly stages: Stages;
  readonly emit: Emit;
  readonly gate: StartGate;
  readonly slices: Slices;
  /** Bounds the connections of all servers. */
  readonly connections: ConnectionPool;
  readonly verdicts: Verdicts;
  readonly validators: Validators;
  readonly inbound: Inbound;
  /** From which level on log messages are wanted, where the host takes them. */
  readonly logLevel: string | undefined;
  readonly clientInfo: { readonly name: string; readonly version: string };
  /** The way to a replica, fresh per attempt; `process` is known once there is one. */
  readonly link: (
    server: ResolvedServer,
    replica: ResolvedReplica,
    leaveGate: () => void,
    credentials: Credentials | undefined,
  ) => Link & { readonly process?: ServerProcess | undefined };
  /** Whether who watches a resource may hear of one below it; undefined where nobody is asked. */
  readonly mayHear: MayHear | undefined;
  /** Why a call is not made of what is pinned; undefined where nothing is. */
  readonly refusal: Refusal | undefined;
  /** A list of a session has arrived; gives back what of it is kept. */
  readonly onListed: (server: Server, replica: Replica, kind: ListKind, list: RawList) => RawList;
  /** Something about a connection changed that the fleet shows. */
  readonly onChange: (server: Server, replica: Replica, to: ConnectionState) => void;
}

/** A named entry of the configuration at run time: its replicas, and what outlives their sessions. */
export class Server {
  readonly config: ResolvedServer;
  readonly replicas: readonly Replica[];
  readonly watched: WatchedResources;
  /** Which replica gets a request. */
  readonly pool: ReplicaPool;
  /** What is remembered of its answers. */
  readonly cache: Cache;
  /** Shared by retries and hedges; undefined where there are no retries. */
  readonly retryBudget: RetryBudget | undefined;
  /** Requests towards it; undefined where there is no limit. */
  readonly rate: TokenBucket | undefined;
  readonly #deps: ServerDeps;
  readonly #credentials: ServerCredentials;
  #logLevel: string | undefined;
  #stopped = false;
  /** What those hear that come after `stop`. */
  #stopReason: TroupeError | undefined;
  /** Who waits for a connection to stand. */
  #awaiting = 0;

  /** @param watched of the server that it takes the place of */
  constructor(config: ResolvedServer, deps: ServerDeps, watched?: WatchedResources) {
    this.config = config;
    this.#deps = deps;
    this.#logLevel = deps.logLevel;
    this.#credentials = new ServerCredentials(config, deps);
    this.watched = watched ?? new WatchedResources(config.name, deps.logger, deps.mayHear);
    this.replicas = config.replicas.map((replica) => this.#replica(replica));
    const { clock } = deps;
    this.cache = createCache({ clock, policy: { ...config.cache, staleIfErrorMs: STALE_IF_ERROR_MS } });
    this.retryBudget =
      config.retry === undefined
        ? undefined
        : createRetryBudget({
            clock,
            ratio: config.retry.budgetRatio,
            minPerSecond: config.retry.budgetMinPerSecond,
            windowMs: config.retry.budgetWindowMs,
          });
    this.rate =
      config.rateLimit === undefined ? undefined : createTokenBucket({ clock, ...config.rateLimit });
    this.pool = createPool({
      server: config.name,
      candidates: this.replicas.map((replica) => candidate(replica, config)),
      strategy: routingOf(config),
      clock: deps.clock,
      random: deps.random,
      affinity: config.affinity,
      // A single tier needs no rule.
      tiers: config.replicas.some(({ tier }) => tier !== config.replicas[0]?.tier) ? config.tiers : undefined,
      outlier: config.outlier,
      maxQueue: config.admission.maxQueue,
      stages: deps.stages,
      onFault: (error) => deps.logger.warn('routing', { server: config.name, error: error.message }),
    });
  }

  get name(): string {
    return this.config.name;
  }

  /** The first replica that is Connected, in order of declaration. */
  get connected(): Replica | undefined {
    return this.replicas.find((replica) => replica.connection.session !== undefined);
  }

  /** Whose lists are the server's: the first connected replica that has the tools of the pool. */
  get speaker(): Replica | undefined {
    // Asked for each of a thousand servers with every list.
    for (const replica of this.replicas)
      if (!replica.odd && replica.connection.session !== undefined) return replica;
    return this.connected;
  }

  /** Whether one of its connections may stand soon without anybody doing anything. */
  get willConnect(): boolean {
    return this.replicas.some(({ connection }) => connection.willConnect && !connection.parked);
  }

  /** Connects what rests, as far as the pool has room. */
  wake(): void {
    if (this.#stopped) return;
    for (const replica of this.replicas) {
      const { connection } = replica;
      if (
        connection.state === 'Disconnected' &&
        !this.#rests(replica) &&
        this.#deps.connections.tryEnter(this.#pooled(replica))
      )
        connection.wake();
    }
  }

  /** Why nothing of it stands: the error of its first failed connection. */
  get error(): TroupeError | undefined {
    for (const { connection, resting } of this.replicas) {
      const error = connection.error ?? resting?.error;
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** Who failed before it made room is not connected again before its backoff is over, however often it is asked for. */
  #rests(replica: Replica): boolean {
    if (replica.resting === undefined) return false;
    if (this.#deps.clock.now() < replica.resting.until) return true;
    replica.resting = undefined;
    return false;
  }

  /** Busy share of the slots of the replicas that are connected, 0 … 1. */
  get utilisation(): number {
    const standing = this.replicas.filter(({ connection }) => connection.session !== undefined).length;
    const slots = standing * this.config.maxInFlight;
    return slots === 0 ? 1 : this.pool.inFlight / slots;
  }

  /** A replica has listed its tools: who has others than the rest is suspect until it agrees again. */
  toolsListed(replica: Replica, tools: readonly Json[]): void {
    if (this.replicas.length < 2) return;
    replica.fingerprint = toolsFingerprint(tools as never);
    const before = this.replicas.find((other) => other !== replica && !other.odd)?.fingerprint;
    const { odd } = agreement(
      this.replicas.map(({ config, fingerprint }) => ({ id: config.id, fingerprint })),
      before,
    );
    for (const other of this.replicas) {
      const isOdd = odd.includes(other.config.id);
      if (isOdd && !other.odd) {
        this.#deps.logger.warn(
          'a replica offers other tools than the rest and is asked only when nothing else is left',
          {
            server: this.name,
            connection: other.config.id,
          },
        );
      }
      other.odd = isOdd;
    }
    this.pool.wake();
  }

  /**
   * A promise to wait for before a request can be handed over; undefined when waiting is in vain. Wakes what rests, and
   * waits for room in the pool where that is full.
   */
  ready(cancellation: Cancellation): Promise<void> | undefined {
    if (this.connected !== undefined) return Promise.resolve();
    if (this.#stopped) return undefined;
    this.wake();
    if (this.willConnect) return this.#awaited(this.#standing());
    const closed = this.replicas.filter(
      ({ connection: { state } }) => state === 'Disconnected' || state === 'Disconnecting',
    );
    const first = closed.find((replica) => !this.#rests(replica)) ?? soonest(closed);
    return first === undefined ? undefined : this.#awaited(this.#afterRoom(first, cancellation));
  }

  /** Nothing of it stands, and nothing is connected again before a backoff is over. */
  get rests(): boolean {
    return this.replicas.every(
      (replica) => replica.connection.state === 'Disconnected' && this.#rests(replica),
    );
  }

  /** While somebody waits for it, nothing of it makes room for others. */
  #awaited(ready: Promise<void>): Promise<void> {
    this.#awaiting += 1;
    return ready.finally(() => {
      this.#awaiting -= 1;
    });
  }

  async #afterRoom(replica: Replica, cancellation: Cancellation): Promise<void> {
    const { connection } = replica;
    await this.#afterRest(replica, cancellation);
    // One that is just being evicted has its place until it is gone.
    if (connection.state === 'Disconnecting') await connection.settled((state) => state !== 'Disconnecting');
    if (!this.#stopped) await this.#deps.connections.enter(this.#pooled(replica), cancellation);
    if (this.#stopped) {
      // Between the place being given and our hearing of it: what would start now, nobody would end.
      this.#deps.connections.leave(connection.id);
      throw this.#stopReason ?? new TroupeError('stopped', 'the engine has stopped', { server: this.name });
    }
    if (connection.state === 'Disconnected' && !this.#rests(replica)) connection.wake();
    await this.#standing();
  }

  /** As it would have waited for the next attempt, had it not made room. */
  async #afterRest(replica: Replica, cancellation: Cancellation): Promise<void> {
    if (!this.#rests(replica)) return;
    const { clock } = this.#deps;
    let disarm = (): void => {};
    const over = new Promise<void>((resolve) => {
      disarm = clock.after((replica.resting?.until ?? 0) - clock.now(), resolve);
    });
    try {
      await unless(cancellation, over);
    } finally {
      disarm();
    }
  }

  /** Of a request whose time ran out for `reason`: that no connection could be had, if that was it. */
  refusal(reason: TroupeError | undefined): TroupeError | undefined {
    return this.#deps.connections.refusal(reason, this.name);
  }

  #pooled(replica: Replica): Pooled {
    const { connection } = replica;
    const { config, pool, watched } = this;
    const { clock } = this.#deps;
    const isAwaited = (): boolean => this.#awaiting > 0;
    return {
      id: connection.id,
      server: config.name,
      get evictable() {
        const { session } = connection;
        if (session === undefined || session.inFlight > 0 || pool.inFlight > 0) return false;
        return !config.pinned && watched.size === 0 && config.affinity?.mode !== 'strict';
      },
      get failed() {
        if (connection.state !== 'Error' || connection.parked) return false;
        return !config.pinned && watched.size === 0 && pool.waiting === 0 && !isAwaited();
      },
      evict: () => {
        replica.held = replica.breaker?.held;
        const { retryInMs, error } = connection;
        if (retryInMs !== undefined) replica.resting = { until: clock.now() + retryInMs, error };
        return connection.disconnect(config.stop.graceMs);
      },
    };
  }

  /** Asks for log messages from `level` on: now, and of each later session. */
  async setLogLevel(level: string): Promise<void> {
    this.#logLevel = level;
    await Promise.all(
      this.replicas.flatMap(({ connection }) => connection.session?.setLogLevel(level) ?? []),
    );
  }

  /** Lets pending work finish for at most `graceMs`; `reason`: what those hear that come now. */
  async stop(
    graceMs: number,
    reason = new TroupeError('stopped', 'the engine has stopped', { server: this.name }),
  ): Promise<void> {
    this.#stopped = true;
    this.#stopReason = reason;
    this.pool.stop(reason);
    this.#deps.connections.dismiss(new Set(this.replicas.map(({ connection }) => connection.id)), reason);
    await Promise.all(this.replicas.map(({ connection }) => connection.disconnect(graceMs)));
    for (const { connection } of this.replicas) connection.dispose();
    await this.#credentials.close();
  }

  /** What the host says to an `auth.required`; without an answer, the connections that wait only try again. */
  async authorize(answer: Json | undefined): Promise<void> {
    await this.#credentials.answer(answer);
    // One that is still putting its last attempt away goes on a little later.
    const waiting = this.replicas.filter(({ connection }) => connection.state === 'AuthRequired');
    for (const replica of waiting) {
      replica.wanted = true;
      replica.connection.authorized();
    }
    await Promise.all(
      waiting.map(({ connection }) => connection.settled((state) => state !== 'AuthRequired')),
    );
  }

  /** Until one stands, or each that was on its way has failed once more: then the server counts as down. */
  async #standing(): Promise<void> {
    const failed = new Set<Replica>();
    for (;;) {
      const hopeful = this.replicas.filter(
        (replica) => replica.connection.willConnect && !failed.has(replica),
      );
      if (this.connected !== undefined || hopeful.length === 0) return;
      await Promise.race(
        hopeful.map(async (replica) => {
          await replica.connection.changed();
          if (replica.connection.state === 'Error') failed.add(replica);
        }),
      );
    }
  }

  #replica(config: ResolvedReplica): Replica {
    const deps = this.#deps;
    const { clock, random } = deps;
    const server = this.config;
    let history: RestartHistory = NO_HISTORY;
    const replica: { -readonly [K in keyof Replica]: Replica[K] } = {
      config,
      connection: undefined as unknown as Connection,
      lists: undefined,
      process: undefined,
      lastSession: undefined,
      breaker: undefined,
      held: undefined,
      path: undefined,
      lastProbe: undefined,
      endWatch: undefined,
      fingerprint: undefined,
      odd: false,
      sessions: 0,
      resting: undefined,
      wanted: false,
      offered: undefined,
    };
    replica.connection = new Connection({
      id: config.id,
      server: server.name,
      clock,
      createAttempt: (assumeLegacy) => this.#attempt(replica, assumeLegacy),
      restart: (error) => {
        const judged = restartPolicy(error, history, clock.now(), server.restart, random);
        history = judged.history;
        // From here on it goes on by itself.
        replica.wanted = false;
        return judged.verdict;
      },
      onSession: (session) => {
        history = noteConnected(history, clock.now());
        return this.#sessionOpened(replica, session);
      },
      onChange: (change) => {
        if (change.from === 'Connected') this.#sessionEnded(replica);
        deps.emit({
          type: 'connection.changed',
          at: clock.wallTime(),
          connection: config.id,
          server: server.name,
          from: change.from,
          to: change.to,
          attempt: change.attempt,
          error: change.error,
          retryInMs: change.retryInMs,
          parked: change.parked,
        });
        if (change.to === 'AuthRequired' && change.error !== undefined) {
          deps.emit({
            type: 'auth.required',
            at: clock.wallTime(),
            server: server.name,
            connection: config.id,
            error: change.error,
            challenge: change.error.data as Json | undefined,
          });
        }
        if (givesPlaceBack(change)) deps.connections.leave(config.id);
        this.pool.wake();
        deps.onChange(this, replica, change.to);
      },
    });
    return replica;
  }

  /** Mostly it has one. What gave it back while it could do nothing waits for one only where somebody wants it. */
  async #place(replica: Replica, cancellation: Cancellation): Promise<void> {
    const { connections } = this.#deps;
    const pooled = this.#pooled(replica);
    if (connections.tryEnter(pooled)) return;
    const full = new TroupeError('queue_full', 'the pool of connections has no place for another try', {
      server: this.name,
    });
    if (!replica.wanted) throw full;
    const patience = cancellation.child();
    const disarm = this.#deps.clock.after(this.config.startTimeoutMs, () => patience.cancel(full));
    try {
      await connections.enter(pooled, patience);
    } finally {
      disarm();
      patience.release();
    }
  }

  #attempt(replica: Replica, assumeLegacy: boolean): Attempt {
    const { config: server } = this;
    const deps = this.#deps;
    const host = deps.inbound.door(server.name, replica.config.id);
    let leaveGate = (): void => {};
    const link = deps.link(server, replica.config, () => leaveGate(), this.#credentials.of(replica.config));
    replica.process = link.process;
    return new Attempt({
      link,
      server: server.name,
      connection: replica.config.id,
      assumeLegacy,
      startTimeoutMs: server.startTimeoutMs,
      gate: {
        enter: async (cancellation) => {
          await this.#place(replica, cancellation);
          leaveGate = await deps.gate.enter(cancellation);
          return leaveGate;
        },
      },
      clock: deps.clock,
      clientInfo: deps.clientInfo,
      era: server.era,
      prior: priorOf(server.prior),
      verdicts: deps.verdicts,
      verdictKey: verdictKey(server, replica.config),
      host,
      logLevel: this.#logLevel,
      limits: server.limits,
      validators: deps.validators,
      batchWindowMs: server.batch?.windowMs ?? 0,
    });
  }

  #sessionOpened(
    replica: Replica,
    session: Session,
  ): ReturnType<ConstructorParameters<typeof Connection>[0]['onSession']> {
    const { config: server } = this;
    const { clock, emit, inbound, logger } = this.#deps;
    const { id } = replica.config;
    const lists = new SessionLists({
      session,
      server: server.name,
      limits: server.limits,
      clock,
      timeoutMs: server.listTimeoutMs,
      ttlMs: server.cache.lists.ttlMs,
      slices: this.#deps.slices,
      onListed: (kind, list) => this.#deps.onListed(this, replica, kind, list),
      onFailed: (kind, error) =>
        logger.warn('a list failed', { server: server.name, kind, error: error.message }),
    });
    replica.lists = lists;
    replica.lastSession = session;
    replica.sessions += 1;
    this.#openPath(replica, session);
    lists.start();
    this.#watchAt(session);
    if (this.#logLevel !== undefined && session.era === 'legacy') {
      session
        .setLogLevel(this.#logLevel)
        .catch((error: unknown) => logger.warn('the log level was refused', { server: server.name, error }));
    }
    return {
      onNotification: (method, params) => {
        for (const kind of CHANGED_LISTS[method] ?? []) {
          lists.changed(kind);
          this.cache.invalidate({ method: LIST_METHODS[kind] });
        }
        if (method === 'notifications/resources/updated')
          this.cache.invalidate({ uri: String(params?.['uri']) });
        // It comes after a gap in the stream of changes as well: an update of what is watched may have been missed.
        if (method === 'notifications/resources/list_changed')
          for (const uri of this.watched.uris) this.cache.invalidate({ uri });
        if (method === 'notifications/resources/updated' && params !== undefined)
          this.watched.updated(params);
        else if (method === 'notifications/message') inbound.logged(server.name, params);
        emit({
          type: 'server.notified',
          at: clock.wallTime(),
          server: server.name,
          connection: id,
          method,
          params,
        });
      },
      onOddity: (error, count) => {
        emit({
          type: 'connection.oddity',
          at: clock.wallTime(),
          connection: id,
          server: server.name,
          error,
          count,
        });
      },
    };
  }

  #openPath(replica: Replica, session: Session): void {
    const { clock, random, emit, stages, connections, refusal } = this.#deps;
    openSessionPath({
      server: this.config,
      replica,
      session,
      clock,
      random,
      emit,
      stages,
      connections,
      refusal,
      onBreaker: () => {
        this.pool.wake();
        this.#deps.onChange(this, replica, replica.connection.state);
      },
    });
  }

  #sessionEnded(replica: Replica): void {
    closeSessionPath(replica);
    replica.lists?.dispose();
    replica.lists = undefined;
    replica.offered = undefined;
    if (replica.lastSession === undefined) return;
    this.watched.detach(replica.lastSession);
    const other = this.connected?.connection.session;
    if (other !== undefined) this.#watchAt(other);
  }

  /** What changed while nobody watched is not told: what was read before of what is watched may be old. */
  #watchAt(session: Session): void {
    for (const uri of this.watched.uris) this.cache.invalidate({ uri });
    this.watched.attach(session, (error) =>
      this.#deps.logger.warn('watching resources failed', { server: this.name, error: error.message }),
    );
  }
}

/** Whose backoff is over first. */
function soonest(replicas: readonly Replica[]): Replica | undefined {
  return replicas.toSorted((a, b) => (a.resting?.until ?? 0) - (b.resting?.until ?? 0))[0];
}

/** It is closed, or does nothing before somebody else has done something. */
function givesPlaceBack({ to, parked }: ConnectionChange): boolean {
  return to === 'Disconnected' || to === 'AuthRequired' || (to === 'Error' && parked);
}

/** Throws `config_invalid` naming the server, for options that the strategy does not take. */
function routingOf({ name, routing }: ResolvedServer): RoutingStrategy {
  try {
    return strategyOf(routing.strategy, routing.options);
  } catch (error) {
    throw TroupeError.from(error, { server: name });
  }
}

/** Throws `config_invalid` for what the configuration cannot judge: options of a strategy, and of affinity. */
export function judgeRouting(config: ResolvedServer): void {
  routingOf(config);
  void new Affinity(config.name, config.affinity);
}

/** How long a remembered answer may stand in for a server that cannot be asked, milliseconds. */
const STALE_IF_ERROR_MS = 60_000;
