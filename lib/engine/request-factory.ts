import { Cancellation, cancelledBy, watchSignal } from '../core/cancellation.ts';
import { MAX_TIMER_MS, type Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import {
  isProtocolRead,
  NewFacts,
  type OperationClass,
  type Principal,
  type Progress,
  type Request,
} from '../core/request.ts';

/** What a caller may say about one operation. `timeoutMs` is one deadline for all of it. */
export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Pages, retries, `input_required` rounds and queueing included. Milliseconds; default: the server's `timeoutMs`. */
  readonly timeoutMs?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly principal?: Principal | string | undefined;
  /** Requests with the same key go to the same replica while it lives. */
  readonly affinity?: string | undefined;
  /** Only these servers are asked. */
  readonly servers?: readonly string[] | undefined;
  readonly cache?: 'use' | 'refresh' | 'bypass' | undefined;
  /** The caller vouches that a repeat has no further effect. */
  readonly idempotent?: boolean | undefined;
  /** Further fields of `_meta`. */
  readonly meta?: Json | undefined;
}

export interface RequestShape {
  readonly method: string;
  readonly params: Json | undefined;
  readonly target: string | undefined;
  readonly server?: string | undefined;
  readonly batch?: boolean | undefined;
}

export interface RequestFactory {
  /** A frozen request. Once it is over, `cancellation.settled()` lets go of the caller's signal. */
  create(shape: RequestShape, options: RequestOptions | undefined, timeoutMs: number): Request;
}

export function createRequestFactory(deps: {
  readonly clock: Clock;
  readonly principal: Principal | undefined;
}): RequestFactory {
  let seq = 0;
  return {
    create(shape, options, defaultTimeoutMs) {
      const timeoutMs = options?.timeoutMs ?? defaultTimeoutMs;
      checkTimeout(timeoutMs);
      if (options?.cache !== undefined) checkCache(options.cache);
      const cancellation = new Cancellation();
      const signal = options?.signal;
      if (signal !== undefined) {
        if (signal.aborted) throw cancelledBy(signal);
        cancellation.watchedBy(watchSignal(signal, cancellation));
      }
      seq += 1;
      return Object.freeze(
        new NewRequest(seq, shape, options, deps.clock.now(), timeoutMs, cancellation, deps.principal),
      );
    },
  };
}

/** A class for the reason that `Copy` in `core/request.ts` tells. */
class NewRequest implements Request {
  readonly seq: number;
  readonly method: string;
  readonly params: Json | undefined;
  readonly server: string | undefined;
  readonly target: string | undefined;
  readonly operation: OperationClass;
  readonly deadline: number;
  readonly startedAt: number;
  readonly cancellation: Cancellation;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly principal: Principal | undefined;
  readonly affinity: string | undefined;
  readonly cache: 'use' | 'refresh' | 'bypass';
  readonly batch: boolean;
  readonly meta: Json | undefined;
  readonly attempt = 1;
  readonly tried = NONE;
  readonly facts = new NewFacts();

  constructor(
    seq: number,
    shape: RequestShape,
    options: RequestOptions | undefined,
    startedAt: number,
    timeoutMs: number,
    cancellation: Cancellation,
    host: Principal | undefined,
  ) {
    this.seq = seq;
    this.method = shape.method;
    this.params = withMeta(shape.params, options?.meta);
    this.server = shape.server;
    this.target = shape.target;
    this.operation = isProtocolRead(shape.method)
      ? 'read'
      : options?.idempotent === true
        ? 'idempotent'
        : 'unsafe';
    this.deadline = startedAt + timeoutMs;
    this.startedAt = startedAt;
    this.cancellation = cancellation;
    this.onProgress = options?.onProgress;
    this.principal = options?.principal === undefined ? host : principalOf(options.principal);
    this.affinity = options?.affinity;
    this.cache = options?.cache ?? 'use';
    this.batch = shape.batch === true;
    this.meta = options?.meta;
  }
}

const NONE: readonly string[] = Object.freeze([]);

function withMeta(params: Json | undefined, meta: Json | undefined): Json | undefined {
  if (meta === undefined) return params;
  const own = params?.['_meta'];
  return { ...params, _meta: { ...(isJson(own) ? own : {}), ...meta } };
}

export function principalOf(principal: Principal | string): Principal {
  return typeof principal === 'string' ? { id: principal } : principal;
}

/** A timer cannot hold more than 2^31 − 1 ms, and NaN or a negative number would fire at once. */
function checkTimeout(timeoutMs: number): void {
  if (typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS) return;
  throw new TroupeError(
    'invalid_request',
    `timeoutMs must be a number of milliseconds above 0 and at most ${MAX_TIMER_MS}, not ${String(timeoutMs)}`,
  );
}

function checkCache(cache: string): void {
  if (cache === 'use' || cache === 'refresh' || cache === 'bypass') return;
  throw new TroupeError('invalid_request', `cache must be use, refresh or bypass, not ${cache}`);
}

/** Arguments must be an object; what is in it is checked when it is written. */
export function checkArguments(args: unknown, what: string): Json | undefined {
  if (args === undefined || isJson(args)) return args;
  throw new TroupeError(
    'invalid_request',
    `${what} must be an object, not ${args === null ? 'null' : Array.isArray(args) ? 'an array' : typeof args}`,
  );
}

export function checkText(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TroupeError('invalid_request', `${what} must be a non-empty string`);
}
