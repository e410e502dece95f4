import { Observable } from 'rxjs';
import type { Config, EngineConfig, ResolvedServer, ServerConfig } from '../config/config.ts';
import { normalise, withServer, withoutServer } from '../config/normalise.ts';
import { sameServer } from '../config/same.ts';
import { Cancellation, watchSignal } from '../core/cancellation.ts';
import { MAX_TIMER_MS, type Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { EngineEvent, EngineEventType, EventOf, ListKind } from '../core/events.ts';
import type { Handler } from '../core/interceptor.ts';
import { CallParams, isJson, NamedParams, type Json } from '../core/json-rpc.ts';
import type { Request } from '../core/request.ts';
import type { FleetSnapshot } from '../supervision/fleet.ts';
import type { AuditVerdict } from '../security/audit-verify.ts';
import type { Explanation } from '../security/policy-engine.ts';
import { STRATEGY_NAMES } from '../routing/strategy-registry.ts';
import { reconcile } from '../supervision/reconcile.ts';
import { Supervisor } from '../supervision/supervisor.ts';
import { compileEngine, type EngineParts } from './compose.ts';
import { batch } from '../resilience/batch.ts';
import type {
  BatchResult,
  ConnectionView,
  Engine,
  ExplainRequest,
  ListResult,
  RawRequest,
} from './contract.ts';
import {
  aggregate,
  fanOut,
  type AggregateRequest,
  type AggregateResult,
  type FanOutDeps,
  type FanOutRequest,
  type FanOutResult,
} from './fan-out.ts';
import { harmless } from './harmless.ts';
import { inspect } from './inspect.ts';
import { judged } from './written-secrets.ts';
import { LIST_PARAMS, listServers } from './lists.ts';
import {
  checkArguments,
  checkText,
  principalOf,
  type RequestOptions,
  type RequestShape,
} from './request-factory.ts';
import { judgeRouting, type Server } from './server.ts';
import type { ResourceListener, Subscription } from './watched-resources.ts';

/**
 * Validates the configuration at once (a bad one throws `config_invalid`, naming server and field) and starts nothing.
 */
export function createEngine(config: EngineConfig | Config): Engine {
  return judged(config, () => new TroupeEngine(normalise(config, KNOWN)));
}

/** What the configuration may name. */
const KNOWN = { strategies: STRATEGY_NAMES };

class TroupeEngine implements Engine {
  #config: Config;
  readonly #parts: EngineParts;
  readonly #clock: Clock;
  readonly #handle: Handler;
  readonly #supervisor: Supervisor;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(config: Config) {
    this.#config = config;
    this.#parts = compileEngine(config);
    this.#clock = this.#parts.clock;
    this.#handle = this.#parts.handle;
    this.#supervisor = new Supervisor({
      clock: this.#clock,
      members: () => [...this.#parts.scopes.all()],
      onStopped: async () => {
        await this.#parts.closeLauncher();
        this.#parts.dispose();
      },
    });
    try {
      for (const server of config.servers) this.#parts.addServer(server);
    } catch (error) {
      // An engine that is not made holds no audit file.
      this.#parts.dispose();
      throw error;
    }
  }

  async start(): Promise<FleetSnapshot> {
    if (this.#supervisor.stopping) throw stopped();
    await this.#supervisor.start();
    return this.fleet;
  }

  stop(options?: { readonly graceMs?: number | undefined }): Promise<void> {
    const graceMs = options?.graceMs ?? this.#config.stop.graceMs;
    if (!(typeof graceMs === 'number' && graceMs >= 0 && graceMs <= MAX_TIMER_MS))
      return Promise.reject(
        new TroupeError(
          'invalid_request',
          `graceMs must be a number of milliseconds from 0 to ${MAX_TIMER_MS}, not ${String(graceMs)}`,
        ),
      );
    this.#parts.scopes.close();
    this.#parts.endPauses(stopped());
    return this.#supervisor.stop(graceMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  listTools(options?: RequestOptions): Promise<ListResult> {
    return this.#list('tools', options);
  }

  listResources(options?: RequestOptions): Promise<ListResult> {
    return this.#list('resources', options);
  }

  listResourceTemplates(options?: RequestOptions): Promise<ListResult> {
    return this.#list('resourceTemplates', options);
  }

  listPrompts(options?: RequestOptions): Promise<ListResult> {
    return this.#list('prompts', options);
  }

  callTool(name: string, args?: Json, options?: RequestOptions): Promise<Json> {
    return this.#run(toolCall, name, args, options);
  }

  readResource(uri: string, options?: RequestOptions): Promise<Json> {
    return this.#run(resourceRead, uri, undefined, options);
  }

  getPrompt(name: string, args?: Readonly<Record<string, string>>, options?: RequestOptions): Promise<Json> {
    return this.#run(promptGet, name, args, options);
  }

  async complete(
    ref: Json,
    argument: { readonly name: string; readonly value: string },
    options?: RequestOptions & { readonly context?: Json },
  ): Promise<Json> {
    const what = ref?.['type'];
    if (what !== 'ref/prompt' && what !== 'ref/resource') {
      throw new TroupeError('invalid_request', 'ref.type must be "ref/prompt" or "ref/resource"');
    }
    const target =
      what === 'ref/prompt' ? checkText(ref['name'], 'ref.name') : checkText(ref['uri'], 'ref.uri');
    checkText(argument?.name, 'argument.name');
    const params = { ref, argument, ...(options?.context === undefined ? {} : { context: options.context }) };
    return this.#perform({ method: 'completion/complete', target, params }, options);
  }

  async subscribeResource(
    uri: string,
    listener: ResourceListener,
    options?: RequestOptions,
  ): Promise<Subscription> {
    checkText(uri, 'the URI of the resource');
    if (typeof listener !== 'function')
      throw new TroupeError('invalid_request', 'subscribeResource needs a listener');
    return this.#parts.subscribe(uri, listener, options, this.#begin).catch((error: unknown) => {
      throw this.#parts.clean(TroupeError.from(error));
    });
  }

  request(request: RawRequest, options?: RequestOptions): Promise<Json> {
    return this.#ask(request, options, false);
  }

  batch(requests: readonly RawRequest[], options?: RequestOptions): Promise<BatchResult[]> {
    if (!Array.isArray(requests))
      return Promise.reject(new TroupeError('invalid_request', 'batch takes an array of requests'));
    return batch(requests as readonly RawRequest[], {
      groupOf: (request) => request?.server ?? '',
      transmit: (group) => group.map((request) => this.#ask(request, options, true)),
    });
  }

  fanOut(request: FanOutRequest, options?: RequestOptions): Observable<FanOutResult> {
    return fanOut(request.servers ?? options?.servers, this.#fanOutDeps(request, options));
  }

  async aggregate(request: AggregateRequest, options?: RequestOptions): Promise<AggregateResult> {
    const servers = request.servers ?? options?.servers;
    return aggregate({ ...request, servers }, this.#fanOutDeps(request, options));
  }

  get fleet(): FleetSnapshot {
    return this.#parts.snapshot();
  }

  get fleet$(): Observable<FleetSnapshot> {
    return harmless(this.#parts.fleet.changes, this.#parts.subscriberFailed);
  }

  connection(id: string): ConnectionView {
    for (const server of this.#parts.scopes.all()) {
      for (const replica of server.replicas) {
        const only = server.replicas.length === 1 && server.name === id;
        if (replica.connection.id === id || only) return this.#parts.views.view(server, replica);
      }
    }
    const known = [...this.#parts.scopes.all()].flatMap((s) => s.replicas.map((r) => r.connection.id));
    throw new TroupeError('not_found', `no connection "${id}"; there are ${known.join(', ') || 'none'}`);
  }

  on<T extends EngineEventType>(event: T | '*', listener: (event: EventOf<T>) => void): () => void {
    return this.#parts.bus.on(event, listener as (event: EngineEvent) => void);
  }

  get events$(): Observable<EngineEvent> {
    const events = new Observable<EngineEvent>((subscriber) => {
      const end = this.#parts.bus.on('*', (event: EngineEvent) => {
        subscriber.next(event);
        if (event.type === 'engine.stopped') subscriber.complete();
      });
      return end;
    });
    return harmless(events, this.#parts.subscriberFailed);
  }

  async authorize(name: string, answer?: Json): Promise<void> {
    const server = this.#parts.scopes.find(name)?.server ?? this.#server(name);
    if (answer !== undefined && !isJson(answer))
      throw new TroupeError(
        'invalid_request',
        'the answer is no object; give { url }, { code } or { token }',
        { server: name },
      );
    await server.authorize(answer).catch(this.#rethrow);
    await this.#supervisor.settled(server);
  }

  inspect(): Json {
    return this.#parts.redacted(inspect(this.#config, this.#parts));
  }

  async approve(server: string, tool?: string): Promise<void> {
    const pinned = this.#parts.scopes.find(server)?.pinName ?? this.#server(server).name;
    this.#parts.trust.approve(pinned, tool);
  }

  explain(request: ExplainRequest): Promise<Explanation> {
    return this.#parts.explain(request);
  }

  verifyAudit(): Promise<AuditVerdict> {
    return this.#parts.trust.verify();
  }

  add(name: string, config: ServerConfig): Promise<void> {
    return this.#change(async () => {
      await this.#apply(judged(config, () => withServer(this.#config, name, config, KNOWN)));
    });
  }

  remove(name: string): Promise<void> {
    return this.#change(async () => {
      this.#server(name);
      await this.#apply(withoutServer(this.#config, name));
    });
  }

  /** What is wrong with the configuration rejects like everything else, and changes nothing. */
  async reconfigure(config: EngineConfig): Promise<void> {
    const next = judged(config, () => normalise(config, KNOWN));
    next.servers.forEach(judgeRouting);
    return this.#change(async () => {
      if (this.#parts.trust.reconfigure(next)) await this.#parts.policyChanged();
      await this.#apply({ ...this.#config, servers: next.servers });
    });
  }

  /** Changes of the fleet happen one after the other. */
  #change(work: () => Promise<void>): Promise<void> {
    if (this.#supervisor.stopping) return Promise.reject(stopped());
    const done = this.#changing.then(() => this.#unlessStopping(work)).catch(this.#rethrow);
    this.#changing = done.catch(() => {});
    return done;
  }

  /** A stop that came meanwhile has ended what there was; what would be added now, nobody would end. */
  #unlessStopping<T>(work: () => T): T {
    if (this.#supervisor.stopping) throw stopped();
    return work();
  }

  async #apply(next: Config): Promise<void> {
    // What only the routing can judge is judged before anything changes.
    next.servers.forEach(judgeRouting);
    const plan = reconcile(this.#config.servers, next.servers, sameServer);
    const byName = new Map<string, ResolvedServer>(next.servers.map((server) => [server.name, server]));
    const names = next.servers.map((server) => server.name);
    this.#config = next;
    this.#parts.reorder(names);
    const starts: Array<Promise<unknown>> = [];
    const addServer = (name: string): void => {
      const config = byName.get(name);
      if (config === undefined) return;
      const server = this.#unlessStopping(() => this.#parts.addServer(config));
      if (!this.#supervisor.running || config.lazy) return;
      const start = this.#supervisor.begin(server);
      // It is waited for below; until then nobody is to hear of it as of something that nobody waits for.
      start.catch(() => {});
      starts.push(start);
    };
    const removeServer = (name: string, returns: boolean): Promise<void> =>
      this.#parts.removeServer(name, next.stop.graceMs, returns);
    try {
      await allOf([
        // Each by itself: none is away longer because another still has calls to finish, or takes its time to start.
        ...plan.changed.map(async (name) => {
          await removeServer(name, true);
          addServer(name);
          // It has come back behind the others.
          this.#parts.reorder(names);
        }),
        Promise.all(plan.removed.map((name) => removeServer(name, false))).then(() => {
          for (const name of plan.added) addServer(name);
          this.#parts.reorder(names);
        }),
      ]);
    } finally {
      await Promise.all(starts);
    }
  }

  #server(name: string): Server {
    const server = this.#parts.servers.get(name);
    if (server !== undefined) return server;
    // Under a policy not everybody may know who else is there.
    if (this.#parts.trust.sight !== undefined) throw new TroupeError('not_found', `no server "${name}"`);
    const known = [...this.#parts.servers.keys()];
    throw new TroupeError('not_found', `no server "${name}"; there are ${known.join(', ') || 'none'}`);
  }

  async #list(kind: ListKind, options: RequestOptions | undefined): Promise<ListResult> {
    if (this.#supervisor.stopping) throw stopped();
    const result = await listServers(this.#parts, kind, options, this.#config.listTimeoutMs);
    // An engine that stopped meanwhile has nobody left who could say anything.
    if (this.#supervisor.stopping && result.items.length === 0) throw stopped();
    return result;
  }

  async #ask(request: RawRequest, options: RequestOptions | undefined, inBatch: boolean): Promise<Json> {
    const method = checkText(request?.method, 'method');
    // It would begin the session of a connection anew that others are using.
    if (method === 'initialize')
      throw new TroupeError(
        'invalid_request',
        'connections are initialized by the engine: start() or any request',
      );
    const params = checkArguments(request.params, 'params');
    const kind = LIST_PARAMS[method];
    if (kind !== undefined && request.server === undefined) {
      const { items, failures } = await this.#list(kind, options);
      return { [kind]: items, failures };
    }
    const ref = params?.['ref'] as Json | undefined;
    const target = params?.['name'] ?? params?.['uri'] ?? ref?.['name'] ?? ref?.['uri'];
    return this.#perform(
      {
        method,
        params,
        server: request.server,
        target: typeof target === 'string' ? target : undefined,
        batch: inBatch,
      },
      options,
    );
  }

  #fanOutDeps(request: FanOutRequest, options: RequestOptions | undefined): FanOutDeps {
    return {
      now: () => this.#clock.now(),
      members: (wanted) => {
        const { sight } = this.#parts.trust;
        if (sight === undefined) for (const name of wanted ?? []) this.#server(name);
        const all = [...this.#parts.servers.keys()];
        // With a policy one that is not there is a row like one that must not be known.
        if (wanted !== undefined || sight === undefined) return wanted ?? all;
        const principal =
          options?.principal === undefined ? this.#config.principal : principalOf(options.principal);
        return this.#parts.known(all, principal, options?.timeoutMs ?? this.#config.timeoutMs);
      },
      leg: (server) => {
        const aborter = new AbortController();
        const outer = new Cancellation();
        const end = options?.signal === undefined ? undefined : watchSignal(options.signal, outer);
        outer.listen(() => aborter.abort());
        const answer = this.#ask(
          { ...request, server },
          { ...options, servers: undefined, signal: aborter.signal },
          false,
        );
        return { answer: end === undefined ? answer : answer.finally(end), cancel: () => aborter.abort() };
      },
    };
  }

  /** What is wrong with what the caller gave rejects like everything else, without an async frame of each verb's own. */
  #run(
    shape: (name: unknown, args: unknown) => RequestShape,
    name: unknown,
    args: unknown,
    options: RequestOptions | undefined,
  ): Promise<Json> {
    let given: RequestShape;
    try {
      given = shape(name, args);
    } catch (error) {
      return Promise.reject(TroupeError.from(error));
    }
    return this.#perform(given, options);
  }

  /** Events, cleaning and the end of the caller's signal happen where the path ends: in its outermost layer. */
  #perform(shape: RequestShape, options: RequestOptions | undefined): Promise<Json> {
    let request: Request;
    try {
      request = this.#begin(shape, options);
    } catch (error) {
      return Promise.reject(TroupeError.from(error));
    }
    return this.#handle(request);
  }

  /** What leaves the engine leaves without our secrets. */
  readonly #rethrow = (error: unknown): never => {
    throw this.#parts.clean(TroupeError.from(error));
  };

  readonly #begin = (shape: RequestShape, options: RequestOptions | undefined): Request => {
    if (this.#supervisor.stopping) throw stopped();
    const named = shape.server ?? (options?.servers?.length === 1 ? options.servers[0] : undefined);
    // One that does not exist is told of on the path, so that it is on record like every other operation.
    const config = named === undefined ? undefined : this.#parts.servers.get(named)?.config;
    // None of them is nobody, and not everybody.
    const among = named === undefined ? options?.servers : undefined;
    const request = this.#parts.requests.create(
      named === shape.server ? shape : { ...shape, server: named },
      options,
      options?.timeoutMs ?? config?.timeoutMs ?? this.#parts.timeoutMs(shape, among),
    );
    if (among !== undefined) request.facts.among = among;
    return request;
  };
}

/** A class for the reason that `Copy` in `core/request.ts` tells. */
class Shape implements RequestShape {
  readonly method: string;
  readonly params: Json;
  readonly target: string;
  readonly server = undefined;
  readonly batch = undefined;

  constructor(method: string, target: string, params: Json) {
    this.method = method;
    this.params = params;
    this.target = target;
  }
}

function namedParams(name: string, given: Json | undefined): Json {
  return given === undefined ? new NamedParams(name) : new CallParams(name, given);
}

function toolCall(name: unknown, args: unknown): RequestShape {
  const target = checkText(name, 'the name of the tool');
  const given = checkArguments(args, 'the arguments of the tool');
  return new Shape('tools/call', target, namedParams(target, given));
}

function resourceRead(uri: unknown): RequestShape {
  const target = checkText(uri, 'the URI of the resource');
  return new Shape('resources/read', target, { uri: target });
}

function promptGet(name: unknown, args: unknown): RequestShape {
  const target = checkText(name, 'the name of the prompt');
  const given = checkArguments(args, 'the arguments of the prompt');
  return new Shape('prompts/get', target, namedParams(target, given));
}

/** All of them to their end; then the first failure, if there was one. */
async function allOf(works: ReadonlyArray<Promise<unknown>>): Promise<void> {
  for (const outcome of await Promise.allSettled(works))
    if (outcome.status === 'rejected') throw outcome.reason;
}

function stopped(): TroupeError {
  return new TroupeError('stopped', 'the engine was stopped');
}
