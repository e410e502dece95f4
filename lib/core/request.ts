import type { Cancellation } from './cancellation.ts';
import type { Json } from './json-rpc.ts';

/** On whose behalf a request is made. */
export interface Principal {
  readonly id: string;
  readonly roles?: readonly string[];
  readonly capabilities?: readonly string[];
  /** Requests of one tenant share slots, rate limits and caches. Default: the principal's id. */
  readonly tenant?: string;
}

export interface Progress {
  readonly progress: number;
  readonly total?: number;
  readonly message?: string;
}

/**
 * What a repeat may do. `read`: changes nothing by the protocol's definition (lists, reads, prompts, completion).
 * `read-only`: a tool trusted to change nothing. `idempotent`: a repeat has no further effect. `unsafe`: everything else.
 */
export type OperationClass = 'read' | 'read-only' | 'idempotent' | 'unsafe';

/** Facts gathered on the way, read by events, trace and audit. The only mutable part of a request. */
export interface RequestFacts {
  /** Attempts handed to a connection. */
  attempts: number;
  /** How many of them provably never left: with all of them, nothing can have run. */
  unsent?: number | undefined;
  /** `input_required` rounds answered. */
  rounds: number;
  /** The server that was found for it. */
  server?: string | undefined;
  /** The connection that answered last. */
  connection?: string | undefined;
  cache?: 'hit' | 'miss' | 'stale' | 'shared' | undefined;
}

/** One operation of the engine, frozen; whoever changes something makes a new one with `amend`. */
export interface Request {
  /** Engine-wide sequence number. */
  readonly seq: number;
  /** MCP method, `tools/call` for example. */
  readonly method: string;
  /** As it goes on the wire, but with the exposed name until `resolve` has put the original one in. */
  readonly params: Json | undefined;
  /** The configured server: given by the caller, or found by `resolve`. */
  readonly server: string | undefined;
  /** What is asked for: the exposed tool or prompt name, or a URI. */
  readonly target: string | undefined;
  readonly operation: OperationClass;
  /** When the whole operation ends, on the engine's clock (monotonic milliseconds). */
  readonly deadline: number;
  readonly startedAt: number;
  readonly cancellation: Cancellation;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly principal: Principal | undefined;
  /** Routing key: requests with the same key go to the same replica while it lives. */
  readonly affinity: string | undefined;
  readonly cache: 'use' | 'refresh' | 'bypass';
  /** May share a transmission with others of the same turn. */
  readonly batch: boolean;
  /** The caller's own `_meta`. */
  readonly meta: Json | undefined;
  /** Counted from 1. */
  readonly attempt: number;
  /** Connections already tried for this request. */
  readonly tried: readonly string[];
  readonly facts: RequestFacts;
}

/**
 * A frozen copy with some fields changed. Written out because spreading a frozen object costs 0.2 µs more, and a field
 * that is forgotten here does not compile.
 */
export function amend(request: Request, change: Partial<Request>): Request {
  const copy: Request = {
    seq: request.seq,
    method: request.method,
    params: request.params,
    server: request.server,
    target: request.target,
    operation: request.operation,
    deadline: request.deadline,
    startedAt: request.startedAt,
    cancellation: request.cancellation,
    onProgress: request.onProgress,
    principal: request.principal,
    affinity: request.affinity,
    cache: request.cache,
    meta: request.meta,
    attempt: request.attempt,
    tried: request.tried,
    facts: request.facts,
    batch: request.batch,
  };
  return Object.freeze(Object.assign(copy, change));
}

/** By definition of the protocol: lists, reads, prompts, completion, discovery and ping change nothing. */
const READS: ReadonlySet<string> = new Set([
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'server/discover',
  'ping',
]);

export function isProtocolRead(method: string): boolean {
  return READS.has(method);
}
