import type { Observable } from 'rxjs';
import type { ServerFailure } from '../catalog/aggregate.ts';
import type { CacheScope } from '../catalog/inventory.ts';
import type { EngineConfig, ServerConfig } from '../config/config.ts';
import type { ConnectionState, EngineEvent, EngineEventType, EventOf, ProcessState } from '../core/events.ts';
import type { TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Principal } from '../core/request.ts';
import type { AuditVerdict } from '../security/audit-verify.ts';
import type { Explanation } from '../security/policy-engine.ts';
import type { FleetSnapshot } from '../supervision/fleet.ts';
import type { AggregateRequest, AggregateResult, FanOutRequest, FanOutResult } from './fan-out.ts';
import type { RequestOptions } from './request-factory.ts';
import type { ResourceListener, Subscription } from './watched-resources.ts';

/** Who offers an item, and under which name. Everything else is as the server sent it. */
export interface Listed {
  /** The exposed name of a tool or prompt; of a resource its own. */
  readonly name: string;
  readonly server: string;
  readonly originalName: string;
  /** Known from before the server was lost. */
  readonly stale?: boolean | undefined;
}

/** An aggregated list: what the servers have, and which of them failed to say. */
export interface ListResult {
  /** Frozen, as its items are. Without a policy the same list is handed out until something changes. */
  readonly items: ReadonlyArray<Json & Listed>;
  readonly failures: readonly ServerFailure[];
  /** How long the whole holds by what the servers say, milliseconds: the shortest of all; 0 where one gave no time. */
  readonly ttlMs: number;
  /** `public` only where every server said so. */
  readonly cacheScope: CacheScope;
}

/** A process of ours: a child process, or an in-process server. */
export interface ProcessView {
  readonly state: ProcessState;
  /** Every transition once, in order; completes with the process. */
  readonly state$: Observable<ProcessState>;
  readonly pid: number | undefined;
  readonly exit: { readonly code: number | null; readonly signal: string | null } | undefined;
}

export interface ConnectionView {
  readonly id: string;
  readonly server: string;
  readonly state: ConnectionState;
  /** The present state, then every transition once and in order; completes on stop or remove. */
  readonly state$: Observable<ConnectionState>;
  /** The process of the present or last attempt, where there is one. */
  readonly process: ProcessView | undefined;
}

export interface RawRequest {
  readonly method: string;
  readonly params?: Json | undefined;
  /** May be left out where the method names what it is about, or where there is one server only. */
  readonly server?: string | undefined;
}

export interface ExplainRequest extends RawRequest {
  readonly principal?: Principal | string | undefined;
}

export type BatchResult =
  | { readonly ok: true; readonly result: Json }
  | { readonly ok: false; readonly error: TroupeError };

/** Many MCP servers as one. Made by `createEngine`, which starts nothing. */
export interface Engine {
  /** Settles when every server that is not `lazy` is Connected or has failed once. Idempotent; rejects with `stopped` after `stop()`. */
  start(): Promise<FleetSnapshot>;
  /** Drains for at most `graceMs`, then aborts; leaves no process, timer, socket or listener. Idempotent. */
  stop(options?: { readonly graceMs?: number | undefined }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  listTools(options?: RequestOptions): Promise<ListResult>;
  listResources(options?: RequestOptions): Promise<ListResult>;
  listResourceTemplates(options?: RequestOptions): Promise<ListResult>;
  listPrompts(options?: RequestOptions): Promise<ListResult>;

  /** By exposed name, or by the original one where only one server has it. A tool that ran and failed is a result. */
  callTool(name: string, args?: Json, options?: RequestOptions): Promise<Json>;
  readResource(uri: string, options?: RequestOptions): Promise<Json>;
  getPrompt(name: string, args?: Readonly<Record<string, string>>, options?: RequestOptions): Promise<Json>;
  /** `ref` is `{ type: 'ref/prompt', name }` with an exposed name, or `{ type: 'ref/resource', uri }`. */
  complete(
    ref: Json,
    argument: { readonly name: string; readonly value: string },
    options?: RequestOptions & { readonly context?: Json },
  ): Promise<Json>;
  subscribeResource(uri: string, listener: ResourceListener, options?: RequestOptions): Promise<Subscription>;
  /** Anything else, vendor methods included. */
  request(request: RawRequest, options?: RequestOptions): Promise<Json>;

  /**
   * Many requests with one outcome each, in the order asked; what goes to one connection shares a transmission where
   * protocol or pipe allow it. List methods without a server give aggregated lists.
   */
  batch(requests: readonly RawRequest[], options?: RequestOptions): Promise<BatchResult[]>;
  /** Cold and single-use: a row per server as it answers; unsubscribing cancels at every server. */
  fanOut(request: FanOutRequest, options?: RequestOptions): Observable<FanOutResult>;
  /** One answer of many; a reducer that throws is a typed error. */
  aggregate(request: AggregateRequest, options?: RequestOptions): Promise<AggregateResult>;

  /** The fleet now, numbers of this moment included. */
  readonly fleet: FleetSnapshot;
  /** Every change of a connection, replaying the latest. */
  readonly fleet$: Observable<FleetSnapshot>;
  /** `server`, `server#replica` or `server#replica@scope`; rejects unknown ones with `not_found`. */
  connection(id: string): ConnectionView;
  /** Listens to one type of event, or to all with `*`. Returns the end of it. A throwing listener harms nobody. */
  on<T extends EngineEventType>(event: T, listener: (event: EventOf<T>) => void): () => void;
  on(event: '*', listener: (event: EngineEvent) => void): () => void;
  readonly events$: Observable<EngineEvent>;

  /**
   * Answers an `auth.required`: `{ url }` (where the browser was sent back to), `{ searchParams }` or `{ code, state, iss }`
   * of it, or `{ token }`. Without an answer what waits tries again. Rejects with `denied` where state or issuer differ, and
   * settles when the connections stand or have failed.
   */
  authorize(server: string, answer?: Json): Promise<void>;

  /**
   * Accepts what a server is now: one tool, or the server with all its tools and the way it is started. Rejects with
   * `not_found`, `denied` (more than this tool is in question) or `unsupported` where nothing is pinned.
   */
  approve(server: string, tool?: string): Promise<void>;
  /** Why a request would be allowed or denied; asks no server. For the host's eyes: it names rules and hidden things. */
  explain(request: ExplainRequest): Promise<Explanation>;
  /** Reads the audit file and names the first bad record. Rejects with `unsupported` where there is none. */
  verifyAudit(): Promise<AuditVerdict>;

  /**
   * A plain JSON tree of servers, connections and sessions, secrets redacted; ready for a bug report. `stages` says how
   * often each stage of the request path has done its part: `deadline`, `audit`, `policy`, `retry`, `pick`, `slot`,
   * `breaker`, `event`.
   */
  inspect(): Json;
  /** Adds a server while running and connects it. */
  add(name: string, server: ServerConfig): Promise<void>;
  /** Ends and forgets a server. */
  remove(name: string): Promise<void>;
  /** Takes another configuration; servers that stay the same are not touched, an invalid one changes nothing. */
  reconfigure(config: EngineConfig): Promise<void>;
}
