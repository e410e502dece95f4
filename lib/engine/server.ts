import { createHash } from 'node:crypto';
import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import { Attempt, type Link, type StartGate } from '../connection/attempt.ts';
import { Connection } from '../connection/connection.ts';
import type { ServerProcess } from '../connection/server-process.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { ConnectionState, Emit, ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger, Random } from '../core/ports.ts';
import type { Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import type { RawList } from '../mcp/session/list.ts';
import type { Session } from '../mcp/session/session.ts';
import type { Verdict, Verdicts } from '../mcp/session/verdicts.ts';
import type { Validators } from '../mcp/wire/validators.ts';
import { createPool, type Candidate, type ReplicaPool } from '../routing/pool.ts';
import { strategyByName } from '../routing/strategy-registry.ts';
import { NO_HISTORY, noteConnected, restartPolicy, type RestartHistory } from '../supervision/restart-policy.ts';
import type { Inbound } from './inbound.ts';
import { CHANGED_LISTS, SessionLists } from './session-lists.ts';
import { WatchedResources } from './watched-resources.ts';

export interface ServerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly emit: Emit;
  readonly gate: StartGate;
  readonly verdicts: Verdicts;
  readonly validators: Validators;
  readonly inbound: Inbound;
  /** From which level on log messages are wanted, where the host takes them. */
  readonly logLevel: string | undefined;
  readonly clientInfo: { readonly name: string; readonly version: string };
  /** The way to a replica, fresh per attempt; `process` is known once there is one. */
  readonly link: (server: ResolvedServer, replica: ResolvedReplica, leaveGate: () => void) => Link & { readonly process?: ServerProcess | undefined };
  /** A list of a session has arrived. */
  readonly onListed: (server: Server, replica: Replica, kind: ListKind, list: RawList) => void;
  /** Something about a connection changed that the fleet shows. */
  readonly onChange: (server: Server, replica: Replica, to: ConnectionState) => void;
}

/** One replica at run time: its durable connection and what its present session lists. */
export interface Replica {
  readonly config: ResolvedReplica;
  readonly connection: Connection;
  /** Of the present session. */
  lists: SessionLists | undefined;
  process: ServerProcess | undefined;
  /** Session facts that outlive the session, for the snapshot of a connection that is down. */
  lastSession: Session | undefined;
}

/** A named entry of the configuration at run time: its replicas, and what outlives their sessions. */
export class Server {
  readonly config: ResolvedServer;
  readonly replicas: readonly Replica[];
  readonly watched: WatchedResources;
  /** Which replica gets a request. */
  readonly pool: ReplicaPool;
  readonly #deps: ServerDeps;
  #logLevel: string | undefined;

  constructor(config: ResolvedServer, deps: ServerDeps) {
    this.config = config;
    this.#deps = deps;
    this.#logLevel = deps.logLevel;
    this.watched = new WatchedResources(config.name, deps.logger);
    this.replicas = config.replicas.map((replica) => this.#replica(replica));
    this.pool = createPool({
      server: config.name,
      candidates: this.replicas.map((replica) => candidate(replica, config)),
      strategy: strategyByName(config.routing.strategy, config.routing.options),
      clock: deps.clock,
      random: deps.random,
      affinity: config.affinity,
      tiers: config.tiers,
      outlier: config.outlier,
      maxQueue: config.admission.maxQueue,
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

  /** Whether one of its connections will stand without anybody doing anything. */
  get willConnect(): boolean {
    return this.replicas.some(({ connection }) => connection.willConnect);
  }

  wake(): void {
    for (const { connection } of this.replicas) if (connection.state === 'Disconnected') connection.wake();
  }

  /** Why nothing of it stands: the error of its first failed connection. */
  get error(): TroupeError | undefined {
    return this.replicas.map(({ connection }) => connection.error).find((error) => error !== undefined);
  }

  /** A promise to wait for before a request can be handed over; undefined when waiting is in vain. Wakes what rests. */
  ready(): Promise<void> | undefined {
    if (this.connected !== undefined) return Promise.resolve();
    this.wake();
    return this.willConnect ? this.#standing() : undefined;
  }

  /** Asks for log messages from `level` on: now, and of each later session. */
  async setLogLevel(level: string): Promise<void> {
    this.#logLevel = level;
    await Promise.all(this.replicas.map(({ connection }) => connection.session?.setLogLevel(level)));
  }

  /** Lets pending work finish for at most `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.pool.stop();
    await Promise.all(this.replicas.map(({ connection }) => connection.disconnect(graceMs)));
    for (const { connection } of this.replicas) connection.dispose();
  }

  async #standing(): Promise<void> {
    while (this.connected === undefined && this.willConnect) {
      await Promise.race(this.replicas.map(({ connection }) => connection.changed()));
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
    };
    replica.connection = new Connection({
      id: config.id,
      server: server.name,
      clock,
      createAttempt: (assumeLegacy) => this.#attempt(replica, assumeLegacy),
      restart: (error) => {
        const judged = restartPolicy(error, history, clock.now(), server.restart, random);
        history = judged.history;
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
        this.pool.wake();
        deps.onChange(this, replica, change.to);
      },
    });
    return replica;
  }

  #attempt(replica: Replica, assumeLegacy: boolean): Attempt {
    const { config: server } = this;
    const deps = this.#deps;
    const host = deps.inbound.door(server.name, replica.config.id);
    let leaveGate = (): void => {};
    const link = deps.link(server, replica.config, () => leaveGate());
    replica.process = link.process;
    return new Attempt({
      link,
      server: server.name,
      connection: replica.config.id,
      assumeLegacy,
      startTimeoutMs: server.startTimeoutMs,
      gate: {
        enter: async (cancellation) => {
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
    });
  }

  #sessionOpened(replica: Replica, session: Session): ReturnType<ConstructorParameters<typeof Connection>[0]['onSession']> {
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
      onListed: (kind, list) => this.#deps.onListed(this, replica, kind, list),
      onFailed: (kind, error) => logger.warn('a list failed', { server: server.name, kind, error: error.message }),
    });
    replica.lists = lists;
    replica.lastSession = session;
    lists.start();
    this.watched.attach(session, (error) => logger.warn('watching resources failed', { server: server.name, error: error.message }));
    if (this.#logLevel !== undefined && session.era === 'legacy') {
      session.setLogLevel(this.#logLevel).catch((error: unknown) => logger.warn('the log level was refused', { server: server.name, error }));
    }
    return {
      onNotification: (method, params) => {
        for (const kind of CHANGED_LISTS[method] ?? []) lists.changed(kind);
        if (method === 'notifications/resources/updated' && params !== undefined) this.watched.updated(params);
        else if (method === 'notifications/message') inbound.logged(server.name, params);
        emit({ type: 'server.notified', at: clock.wallTime(), server: server.name, connection: id, method, params });
      },
      onOddity: (error, count) => {
        // A server can make millions of these: the 1st, 2nd, 4th, 8th … is told, with the number so far.
        if ((count & (count - 1)) !== 0) return;
        emit({ type: 'connection.oddity', at: clock.wallTime(), connection: id, server: server.name, error, count });
      },
    };
  }

  #sessionEnded(replica: Replica): void {
    replica.lists?.dispose();
    replica.lists = undefined;
    if (replica.lastSession !== undefined) this.watched.detach(replica.lastSession);
  }
}

/** A replica as the pool sees it; what may change is read when it is needed. */
function candidate(replica: Replica, server: ResolvedServer): Candidate {
  const { config, connection } = replica;
  return {
    id: config.id,
    weight: config.weight,
    tier: config.tier,
    slots: server.maxInFlight,
    get availability() {
      return connection.session === undefined ? 'impossible' : 'usable';
    },
    get state() {
      return connection.state;
    },
    handle: (request) => handOver(connection, request),
  };
}

/**
 * The end of the path: the request goes to the present session. "Ready?" is asked once more; if the session was lost
 * since the pick, the error is `unsent` and another replica is picked.
 */
function handOver(connection: Connection, request: Request): Promise<Response> {
  const { session } = connection;
  if (session !== undefined) return session.request(request);
  return Promise.reject(
    new TroupeError('unavailable', `the connection is ${connection.state}`, {
      server: connection.server,
      connection: connection.id,
      attempt: request.attempt,
      cause: connection.error,
    }),
  );
}

function priorOf(prior: Json | undefined): Verdict | undefined {
  if (prior === undefined) return undefined;
  if (prior['kind'] === 'legacy') return { kind: 'legacy' };
  const discover = prior['kind'] === 'modern' ? prior['discover'] : prior;
  return { kind: 'modern', discover: discover as Json };
}

/** Server, place and credential: a verdict holds for exactly these. Hashed, since arguments may hold a secret. */
function verdictKey(server: ResolvedServer, replica: ResolvedReplica): string {
  const { where } = replica;
  const parts: unknown[] = [server.name, where.kind];
  if (where.kind === 'stdio') parts.push(where.command, where.args);
  if (where.kind === 'http' || where.kind === 'websocket') parts.push(where.url.href, where.headers);
  return `${server.name}:${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}`;
}
