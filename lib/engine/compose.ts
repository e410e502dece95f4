import type { Config, ResolvedServer } from '../config/config.ts';
import { Cancellation } from '../core/cancellation.ts';
import { createClock, type Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import { silentLogger } from '../core/ports.ts';
import { amend, type Principal, type Request } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';
import { createLauncher } from '../mcp/process.ts';
import { createVerdicts, type VerdictStore } from '../mcp/session/verdicts.ts';
import { createValidators } from '../mcp/wire/validators.ts';
import { Pauses } from '../resilience/pause.ts';
import { createRoutingRules } from '../routing/rules.ts';
import { compileGlob } from '../security/glob.ts';
import { isThenable, type Explanation } from '../security/policy-engine.ts';
import { createRedactor, type Redactor } from '../security/redaction.ts';
import type { VaultKeySource } from '../security/vault-key.ts';
import { createFleetStream, type FleetSnapshot, type FleetStream } from '../supervision/fleet.ts';
import { ConnectionPool } from '../supervision/pool.ts';
import { createStartGate } from '../supervision/start-gate.ts';
import { createEventBus, type EventBus } from '../telemetry/event-bus.ts';
import { cleanBus, cleanError, cleanLogger, createInfoCleaner } from './clean.ts';
import { createCatalogs, type Catalogs } from './catalogs.ts';
import type { ExplainRequest } from './contract.ts';
import { createInboundDoor } from './inbound.ts';
import { createItemFlags } from './item-flags.ts';
import { createLink } from './links.ts';
import { expire, unless } from './listing.ts';
import { buildPipeline } from './pipeline.ts';
import {
  createRequestFactory,
  type RequestFactory,
  type RequestOptions,
  type RequestShape,
} from './request-factory.ts';
import { holderOf, locate, unknownTo, type ResolveDeps } from './resolve.ts';
import { keysOf, recentSecrets, secretsOf } from './secrets.ts';
import { bound, scopeOf, serverOfScope, type CredentialScope } from './credential-scope.ts';
import { Scopes, type Scoped } from './scopes.ts';
import { Server, type ServerDeps } from './server.ts';
import { createSettled } from './settled.ts';
import { createSlices } from './slices.ts';
import { takeSnapshot } from './snapshot.ts';
import { stateFile } from './state-file.ts';
import { subscribe } from './subscribe.ts';
import { createTrust, type Trust } from './trust.ts';
import { CLIENT_INFO } from './version.ts';
import { createTokenStores } from './token-store.ts';
import { Views } from './views.ts';
import type { ResourceListener, Subscription, WatchedResources } from './watched-resources.ts';

/** The parts of one engine, wired; `engine.ts` gives them their verbs. */
export interface EngineParts {
  readonly clock: Clock;
  readonly bus: EventBus;
  readonly fleet: FleetStream;
  readonly views: Views;
  /** A subscriber of one of our streams threw. */
  readonly subscriberFailed: (error: unknown) => void;
  readonly requests: RequestFactory;
  readonly handle: Handler;
  /** How long an operation may take whose caller has not said: as long as the server that it will go to allows. */
  timeoutMs(shape: RequestShape, among: readonly string[] | undefined): number;
  /** By name, in order of declaration. */
  readonly servers: ReadonlyMap<string, Server>;
  /** Connections and lists of principals, where credentials differ. */
  readonly scopes: Scopes;
  snapshot(): FleetSnapshot;
  readonly listed: Catalogs['aggregate'];
  readonly stages: Stages;
  /** How many items of each kind a server lists. */
  counts(server: string): Json;
  subscribe(
    uri: string,
    listener: ResourceListener,
    options: RequestOptions | undefined,
    begin: (shape: RequestShape, options: RequestOptions | undefined) => Request,
  ): Promise<Subscription>;
  /** Ends the subscriptions that the policy does not allow any more. */
  policyChanged(): Promise<void>;
  addServer(config: ResolvedServer): Server;
  /** `returns`: to be added again with another configuration; what is watched is not forgotten. */
  removeServer(name: string, graceMs: number, returns: boolean): Promise<void>;
  /** The order of declaration changed. */
  reorder(names: readonly string[]): void;
  /** Nothing will be launched any more. */
  closeLauncher(): Promise<void>;
  /** Who waits for another attempt, or for its turn, hears that there will be none. */
  endPauses(reason: TroupeError): void;
  dispose(): void;
  readonly trust: Trust;
  /** Those of the servers that a principal may know of; rejects with `deadline_exceeded` where the policy does not say. */
  known(
    names: readonly string[],
    principal: Principal | undefined,
    timeoutMs: number,
  ): readonly string[] | Promise<readonly string[]>;
  explain(request: ExplainRequest): Promise<Explanation>;
  /** The same without our secrets in it. */
  clean(error: TroupeError): TroupeError;
  redacted(value: Json): Json;
}

/** Verdicts hold what servers say of themselves, which may be what we told them. */
function cleanFile(stateDir: string, redactor: Redactor): VerdictStore {
  const file = stateFile(stateDir, 'verdicts.json');
  return { read: () => file.read(), write: (text) => file.write(redactor.text(text)) };
}

export function compileEngine(config: Config): EngineParts {
  const clock = config.clock ?? createClock();
  const random = config.random ?? Math.random;
  const redactor = createRedactor();
  const stages = createStages();
  for (const secret of [...config.servers.flatMap(secretsOf), ...keysOf(config)]) redactor.add(secret);
  const logger = config.logger === undefined ? silentLogger : cleanLogger(config.logger, redactor);
  const launcher = createLauncher({ helperAboveBytes: config.spawnHelperAboveBytes, clock });
  const bus = cleanBus(createEventBus({ logger, now: () => clock.wallTime() }), redactor);
  const servers = new Map<string, Server>();
  for (const warning of config.warnings) logger.warn(warning);
  const flags = createItemFlags({ bus, clock, logger, redactor });
  const catalogs: Catalogs = createCatalogs({ config, clock, bus, flags, trust: () => trust });
  const subscriberFailed = (error: unknown): void =>
    logger.error('a subscriber of a stream threw', { error: TroupeError.from(error).detail });
  const views = new Views(subscriberFailed);
  const cleanInfo = createInfoCleaner(redactor);
  const snapshot = (): FleetSnapshot =>
    takeSnapshot(clock.wallTime(), scopes.all(), {
      error: (error) => cleanError(error, redactor),
      info: cleanInfo,
    });
  /** As configured: callbacks for credentials are bound to nobody yet. */
  const written = new Map<string, ResolvedServer>();
  const scopes: Scopes = new Scopes({
    clock,
    principal: config.principal,
    servers,
    catalogs,
    create: ({ name }, scope) => createScoped(written.get(name) as ResolvedServer, scope),
    onDropped: (server, pinName) => {
      endWatching(server);
      trust.forget(pinName);
      for (const { connection } of server.replicas) views.end(connection);
      fleet.changed();
    },
  });
  const fleet = createFleetStream(snapshot);
  const requests = createRequestFactory({ clock, principal: config.principal });
  const trust = createTrust({
    config,
    clock,
    logger,
    bus,
    redactor,
    stages,
    servers: () => (servers.size === 0 ? config.servers.map(({ name }) => name) : servers.keys()),
    catalog: (principal) => scopes.view(principal).catalog(),
    pinName: (server, principal) => scopes.view(principal).pinName(server),
    credentials: (server) => servers.get(server)?.config.auth?.kind,
    unknown: (request) => unknownTo(request, resolving),
  });
  const inbound = createInboundDoor({
    host: config.host,
    principal: config.principal,
    clock,
    emit: bus.emit,
    logger,
    limits: (server) => servers.get(server)?.config.limits ?? config.limits,
    timeoutMs: config.timeoutMs,
    permit: trust.permit,
  });
  const verdicts = createVerdicts({
    wallTime: () => clock.wallTime(),
    store: config.stateDir === undefined ? undefined : cleanFile(config.stateDir, redactor),
    onStoreFailed: (error) =>
      logger.warn('the era verdicts cannot be kept', { error: TroupeError.from(error).message }),
  });
  const connections = new ConnectionPool({
    clock,
    ...config.pool,
    onEvicted: ({ id, server }) =>
      bus.emit({ type: 'connection.evicted', at: clock.wallTime(), server, connection: id }),
  });
  const remember = recentSecrets(redactor);
  /** A token that is sent with each request is on record once. */
  const lastSecret = new Map<string, string>();
  const deps: ServerDeps = {
    clock,
    random,
    logger,
    stages,
    emit: bus.emit,
    gate: createStartGate(config.startConcurrency),
    slices: createSlices(() => clock.now()),
    connections,
    verdicts,
    validators: createValidators({ limits: config.limits }),
    inbound,
    tokens:
      config.stateDir === undefined || config.vault === undefined
        ? undefined
        : createTokenStores(config.stateDir, config.vault.key as VaultKeySource, clock),
    clean: (text) => redactor.text(text),
    onSecret: (server, secret) => {
      remember(server, secret);
      if (lastSecret.get(server) === secret) return;
      lastSecret.set(server, secret);
      trust.credentialUsed(server);
    },
    clientInfo: CLIENT_INFO,
    logLevel: config.host.log === undefined ? undefined : 'info',
    link: (server, replica, leaveGate, credentials) =>
      createLink({ server, replica, leaveGate, credentials, clock, random, emit: bus.emit, launcher }),
    refusal: trust.refusal,
    mayHear:
      trust.sight === undefined
        ? undefined
        : (request, uri) => trust.mayHear(amend(request, { params: { uri }, target: uri })),
    onListed: (server, replica, kind, list) => catalogs.listed(server, replica, kind, list),
    onChange: (server, replica, to) => {
      views.moved(replica.connection, to);
      catalogs.connectionChanged(server);
      fleet.changed();
    },
  };
  const rules = createRoutingRules(
    config.routes,
    (pattern, kind) => compileGlob(pattern, { kind }),
    new Set(config.servers.map((server) => server.name)),
  );
  /** The server once more, under other credentials: what it is told, lists and keeps is its scope's alone. */
  const createScoped = (server: ResolvedServer, scope: CredentialScope): Scoped => {
    const own = serverOfScope(server, scope);
    const { label, context } = scope;
    const { principal } = context;
    const pinName = `${server.name}@${label}`;
    const lists = createCatalogs({
      config: { ...config, servers: [own] },
      clock,
      bus,
      flags,
      trust: () => ({
        review: (reviewed, tools) => trust.review({ ...reviewed, name: pinName }, tools),
        held: trust.held,
        fingerprints: trust.fingerprints,
      }),
    });
    const scoped = new Server(own, {
      ...deps,
      inbound: {
        ...inbound,
        door: (name, id) => inbound.door(name, id, principal),
        logged: (name, params) => inbound.logged(name, params, principal),
      },
      tokens:
        deps.tokens === undefined
          ? undefined
          : () => (deps.tokens as NonNullable<typeof deps.tokens>)(pinName),
      verdicts: {
        get: (key) => verdicts.get(`${key}@${label}`),
        put: (key, verdict) => verdicts.put(`${key}@${label}`, verdict),
        drop: (key) => verdicts.drop(`${key}@${label}`),
      },
      onListed: (of, replica, kind, list) => lists.listed(of, replica, kind, list),
      onChange: (of, replica, to) => {
        views.moved(replica.connection, to);
        lists.connectionChanged(of);
        fleet.changed();
      },
    });
    return { server: scoped, catalogs: lists };
  };
  /** The server itself, with the credentials of the engine: where they belong to principals, those of its own. */
  const ownOf = (server: ResolvedServer): ResolvedServer => {
    const scope = scopeOf(server, config.principal);
    const own = bound(
      server,
      scope?.context ?? { server: server.name, principal: undefined, tenant: undefined },
    );
    // A host that is asked for tokens by principal has none for nobody: that is not tried before somebody asks so.
    const asks = server.auth !== undefined && server.auth.per !== 'server' && server.auth.kind !== 'oauth';
    return asks && scope === undefined ? { ...own, lazy: true } : own;
  };
  const resolving: ResolveDeps = {
    view: (principal) => scopes.view(principal),
    rules,
    sight: trust.sight,
  };
  const pauses = new Pauses(clock);
  const handle = buildPipeline({
    pause: pauses.pause,
    rules,
    servers,
    scopes,
    config,
    clock,
    random,
    logger,
    bus,
    inbound,
    connections,
    trust,
    flags,
    stages,
    onSettled: createSettled({
      bus,
      clock,
      stages,
      clean: (error) => cleanError(error, redactor),
      down: ({ server, facts, principal }) => {
        // Under a policy not everybody may know who is there, and how it is.
        if (trust.sight !== undefined) return undefined;
        const of = scopes.server(server ?? facts.server ?? '', principal);
        return of?.connected === undefined ? of?.error : undefined;
      },
    }),
  });

  /** Looking for the holder costs as much as a call in the catalog; where all have the same time nobody needs to know. */
  const oneTime = (): boolean => {
    for (const { config: own } of servers.values()) if (own.timeoutMs !== config.timeoutMs) return false;
    return true;
  };
  let uniform = true;

  /** What is watched of servers that are about to be there again, with another configuration. */
  const watchedOf = new Map<string, WatchedResources>();
  const subscriptionEnded = (
    server: string,
    { target, principal }: Request,
    reason: 'policy' | 'removed',
  ): void =>
    bus.emit({
      type: 'subscription.ended',
      at: clock.wallTime(),
      server,
      uri: target ?? '',
      principal: principal?.id,
      reason,
    });
  const endWatching = ({ name, watched }: Server): void => {
    for (const request of watched.endAll()) subscriptionEnded(name, request, 'removed');
  };

  const inTime = async <T>(timeoutMs: number, what: string, answer: Promise<T>): Promise<T> => {
    const cancellation = new Cancellation();
    const disarm = expire(clock, cancellation, timeoutMs, what);
    try {
      return await unless(cancellation, answer);
    } finally {
      disarm();
    }
  };

  return {
    clock,
    timeoutMs: (shape, among) =>
      uniform ? config.timeoutMs : (holderOf(shape, resolving, among)?.config.timeoutMs ?? config.timeoutMs),
    bus,
    fleet,
    views,
    subscriberFailed,
    requests,
    handle,
    servers,
    scopes,
    snapshot,
    listed: catalogs.aggregate,
    stages,
    counts: catalogs.counts,
    subscribe: (uri, listener, options, begin) =>
      subscribe({
        uri,
        listener,
        options,
        begin,
        clock,
        view: (principal) => scopes.view(principal),
        recorded: trust.recorded,
        guard: trust.guard,
        sight: trust.sight,
        policyRevision: trust.policyRevision,
      }),
    async policyChanged() {
      await Promise.all(
        Array.from(scopes.all(), ({ name, watched }) =>
          watched.review((request) => {
            const told = (may: boolean): boolean => {
              if (!may) subscriptionEnded(name, request, 'policy');
              return may;
            };
            const allowed = trust.goesOn(request);
            return isThenable(allowed) ? allowed.then(told) : told(allowed);
          }),
        ),
      );
    },
    trust,
    known(names, principal, timeoutMs) {
      const { sight } = trust;
      if (sight === undefined) return names;
      const hidden = names.map((name) => sight.hides(name, principal));
      const judge = (answers: readonly boolean[]): readonly string[] => names.filter((_, i) => !answers[i]);
      if (!hidden.some(isThenable)) return judge(hidden as readonly boolean[]);
      const answers = Promise.all(hidden.map((answer) => Promise.resolve(answer)));
      return inTime(timeoutMs, 'the judgement of the policy', answers).then(judge);
    },
    async explain({ method, params, server, principal }) {
      const ref = params?.['ref'] as Json | undefined;
      const target = params?.['name'] ?? params?.['uri'] ?? ref?.['name'] ?? ref?.['uri'];
      const shape = { method, params, server, target: typeof target === 'string' ? target : undefined };
      const request = requests.create(
        shape,
        principal === undefined ? undefined : { principal },
        config.timeoutMs,
      );
      const answer = trust.explain(request, locate(request, resolving));
      return inTime(config.timeoutMs, 'the explanation of the policy', answer);
    },
    clean: (error) => cleanError(error, redactor),
    redacted: (value) => redactor.value(value) as Json,
    addServer(server) {
      written.set(server.name, server);
      const added = new Server(ownOf(server), deps, watchedOf.get(server.name));
      watchedOf.delete(server.name);
      servers.set(server.name, added);
      scopes.changed();
      // They stay known when the server goes: what has been logged of it may still be on its way.
      for (const secret of secretsOf(server)) redactor.add(secret);
      trust.fleetChanged();
      uniform = oneTime();
      if (!catalogs.current().order.includes(server.name)) catalogs.reorder([...servers.keys()]);
      bus.emit({ type: 'server.added', at: clock.wallTime(), server: server.name });
      fleet.changed();
      return added;
    },
    async removeServer(name, graceMs, returns) {
      const removed = servers.get(name);
      if (removed === undefined) return;
      if (returns) watchedOf.set(name, removed.watched);
      // Not the end of the engine: whoever may try again finds the one that takes its place, or another server.
      const detail = returns ? 'the server is being replaced' : 'the server is being removed';
      const reason = new TroupeError('unavailable', detail, { server: name });
      await Promise.all([removed.stop(graceMs, reason), scopes.remove(name, graceMs, reason)]);
      if (servers.get(name) === removed) servers.delete(name);
      if (!returns) endWatching(removed);
      scopes.changed();
      // One that a request has made while the others ended.
      await scopes.remove(name, graceMs, reason);
      written.delete(name);
      lastSecret.delete(name);
      catalogs.forget(name);
      trust.forget(name);
      flags.forget(name);
      trust.fleetChanged();
      for (const { connection } of removed.replicas) views.end(connection);
      bus.emit({ type: 'server.removed', at: clock.wallTime(), server: name });
      fleet.changed();
    },
    reorder(names) {
      for (const name of names) {
        const server = servers.get(name);
        if (server === undefined) continue;
        servers.delete(name);
        servers.set(name, server);
      }
      scopes.changed();
      catalogs.reorder(names);
    },
    closeLauncher: () => launcher.close(),
    endPauses: (reason) => pauses.end(reason),
    dispose() {
      connections.dispose();
      fleet.changed();
      fleet.complete();
      for (const server of scopes.all()) for (const { connection } of server.replicas) views.end(connection);
      bus.emit({ type: 'engine.stopped', at: clock.wallTime() });
      trust.close();
    },
  };
}
