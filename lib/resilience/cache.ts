import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import { type ErrorCode, isTroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { requestKey } from './request-key.ts';

export interface CacheRule {
  /** How long a result is fresh where the server gives no hint, milliseconds; for tools also the most it can be. */
  readonly ttlMs: number;
  /** Bytes kept, by the length of the JSON; 0 keeps nothing. */
  readonly maxBytes: number;
}

export interface CachePolicy {
  /** `tools/list` and the other lists, `server/discover`. */
  readonly lists: CacheRule;
  /** `resources/read`. */
  readonly resources: CacheRule;
  /** `tools/call`: only with `ttlMs` above 0, and only of tools trusted to change nothing or named by `cacheTool`. */
  readonly tools: CacheRule;
  /** An operator's word that results of this tool may be kept although it is not `read-only`. Default: none. */
  readonly cacheTool?: ((request: Request) => boolean) | undefined;
  /** How long after its end of freshness a result may stand in when the server cannot be asked, milliseconds. Default 0. */
  readonly staleIfErrorMs?: number | undefined;
}

/** What became invalid: the results of a method, or what was read from one URI. Neither: everything. */
export interface Invalidation {
  readonly method?: string | undefined;
  readonly uri?: string | undefined;
}

/** The memory of one server. */
export interface Cache {
  readonly entries: number;
  readonly bytes: number;
  /** For `list_changed` (by method) and `resources/updated` (by URI): also what is being fetched now is not kept. */
  invalidate(what?: Invalidation): void;
}

/** Longest freshness believed, milliseconds (SDK `MAX_CACHE_TTL_MS`: 24 h). */
export const MAX_TTL_MS = 86_400_000;

/** Failures of the way: the server could not be asked, which says nothing against what it said before. */
const UNREACHABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unavailable',
  'connection_lost',
  'circuit_open',
  'queue_full',
  'rate_limited',
  'deadline_exceeded',
  'invalid_response',
]);

const LISTS: ReadonlySet<string> = new Set([
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'prompts/list',
  'server/discover',
]);

/** What an entry costs beside its text. */
const ENTRY_OVERHEAD_BYTES = 256;

export function createCache(options: { readonly clock: Clock; readonly policy: CachePolicy }): Cache {
  return new ServerCache(options.clock, options.policy);
}

/**
 * Answers reads from memory. A result is kept as long as the server's `ttlMs` says, else for the store's own time; one
 * without `cacheScope: 'public'` is only ever given to the same principal. Not kept: errors, `isError` results, and
 * whatever an `input_required` round had a part in. What is kept, and given to the next who asks, is a frozen copy.
 *
 * It needs to know the server, so it stands below whatever resolves names.
 */
export function cache({ of }: { readonly of: (request: Request) => Cache | undefined }): Interceptor {
  return (next) => (request) => {
    if (request.cache === 'bypass') return next(request);
    const memory = of(request);
    if (!(memory instanceof ServerCache)) return next(request);
    const store = memory.storeFor(request);
    if (store === undefined) return next(request);

    let stale: Entry | undefined;
    if (request.cache === 'use' && store.size > 0) {
      const entry = store.find(request);
      if (entry !== undefined && memory.isFresh(entry)) {
        request.facts.cache = 'hit';
        return Promise.resolve(entry.response);
      }
      stale = entry;
    }
    request.facts.cache = 'miss';
    return fetched(next, request, store, stale);
  };
}

async function fetched(
  next: Handler,
  request: Request,
  store: Store,
  stale: Entry | undefined,
): Promise<Response> {
  const { epoch } = store;
  let response;
  try {
    response = await next(request);
  } catch (error) {
    if (stale === undefined || !isTroupeError(error) || !UNREACHABLE.has(error.code)) throw error;
    request.facts.cache = 'stale';
    return stale.response;
  }
  // An invalidation that came meanwhile may be about this very answer.
  if (epoch === store.epoch && isKeepable(request, response)) store.keep(request, response);
  return response;
}

function isKeepable(request: Request, response: Response): boolean {
  const type = response['resultType'];
  return (
    (type === undefined || type === 'complete') && response['isError'] !== true && request.facts.rounds === 0
  );
}

/** A caller who answers `input_required` by hand: results of such rounds must not be kept (2026-07-28). */
function isRound(request: Request): boolean {
  const { params } = request;
  return params !== undefined && ('inputResponses' in params || 'requestState' in params);
}

interface Entry {
  readonly response: Response;
  readonly freshUntil: number;
  readonly keepUntil: number;
  readonly method: string;
  readonly uri: string | undefined;
}

class ServerCache implements Cache {
  readonly #clock: Clock;
  readonly #policy: CachePolicy;
  readonly #lists: Store;
  readonly #resources: Store;
  readonly #tools: Store;

  constructor(clock: Clock, policy: CachePolicy) {
    const stale = policy.staleIfErrorMs ?? 0;
    this.#clock = clock;
    this.#policy = policy;
    this.#lists = new Store(clock, policy.lists, stale, MAX_TTL_MS);
    this.#resources = new Store(clock, policy.resources, stale, MAX_TTL_MS);
    // Hints are not part of `tools/call`: one may shorten what the operator allowed, not lengthen it.
    this.#tools = new Store(clock, policy.tools, stale, policy.tools.ttlMs);
  }

  get entries(): number {
    return this.#lists.size + this.#resources.size + this.#tools.size;
  }

  get bytes(): number {
    return this.#lists.bytes + this.#resources.bytes + this.#tools.bytes;
  }

  isFresh(entry: Entry): boolean {
    return this.#clock.now() < entry.freshUntil;
  }

  storeFor(request: Request): Store | undefined {
    const store = this.#storeOf(request);
    return store === undefined || store.maxBytes === 0 || isRound(request) ? undefined : store;
  }

  #storeOf(request: Request): Store | undefined {
    const { method } = request;
    if (method === 'tools/call') {
      if (this.#policy.tools.ttlMs <= 0) return undefined;
      const allowed = request.operation === 'read-only' || this.#policy.cacheTool?.(request) === true;
      return allowed ? this.#tools : undefined;
    }
    if (method === 'resources/read') return this.#resources;
    return LISTS.has(method) ? this.#lists : undefined;
  }

  invalidate({ method, uri }: Invalidation = {}): void {
    if (uri !== undefined) this.#resources.dropUri(uri);
    else if (method === undefined)
      for (const store of [this.#lists, this.#resources, this.#tools]) store.drop();
    else if (method === 'resources/read') this.#resources.drop();
    else if (method === 'tools/call') this.#tools.drop();
    else this.#lists.drop(method);
  }
}

/** One kind of results, the least recently used going first when it is full. */
class Store {
  readonly maxBytes: number;
  /** Raised by each invalidation. */
  epoch = 0;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #maxTtlMs: number;
  readonly #staleMs: number;
  /** Both made with the first result that is kept: most servers are only called, and an empty one takes 2 kB. */
  #entries: LRUCache<string, Entry> | undefined;
  #keysOfUri: Map<string, Set<string>> | undefined;

  constructor(clock: Clock, rule: CacheRule, staleMs: number, maxTtlMs: number) {
    this.#clock = clock;
    this.#ttlMs = rule.ttlMs;
    this.#maxTtlMs = Math.min(maxTtlMs, MAX_TTL_MS);
    this.#staleMs = staleMs;
    this.maxBytes = Math.min(Math.floor(rule.maxBytes), Number.MAX_SAFE_INTEGER);
  }

  #made(): LRUCache<string, Entry> {
    this.#entries ??= new LRUCache({
      maxSize: Math.max(1, this.maxBytes),
      dispose: (entry, key) => this.#forgetUri(entry, key),
    });
    return this.#entries;
  }

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  get bytes(): number {
    return this.#entries?.calculatedSize ?? 0;
  }

  /** The entry of this principal, else the public one; possibly stale, never beyond use. */
  find(request: Request): Entry | undefined {
    if (this.#entries === undefined) return undefined;
    const key = requestKey(request);
    if (key === undefined) return undefined;
    return this.#live(privateKey(key, request)) ?? this.#live(publicKey(key));
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries?.get(key);
    if (entry === undefined || this.#clock.now() < entry.keepUntil) return entry;
    this.#entries?.delete(key);
    return undefined;
  }

  keep(request: Request, response: Response): void {
    const ttlMs = this.#ttlOf(response);
    const base = ttlMs > 0 ? requestKey(request) : undefined;
    if (base === undefined) return;
    const text = jsonOf(response);
    if (text === undefined) return;
    const key = response['cacheScope'] === 'public' ? publicKey(base) : privateKey(base, request);
    const size = text.length + key.length + ENTRY_OVERHEAD_BYTES;
    if (size > this.maxBytes) {
      this.#entries?.delete(key);
      return;
    }
    const freshUntil = this.#clock.now() + ttlMs;
    const uri = request.params?.['uri'];
    const entry: Entry = {
      // A copy: what an in-process server sent may still be its own.
      response: frozen(JSON.parse(text) as Response),
      freshUntil,
      keepUntil: freshUntil + this.#staleMs,
      method: request.method,
      uri: typeof uri === 'string' ? uri : undefined,
    };
    this.#made().set(key, entry, { size });
    this.#rememberUri(entry, key);
  }

  /** The server's own word, within reason: negative is 0, a year is a day. */
  #ttlOf(response: Response): number {
    const hint = response['ttlMs'];
    const ttlMs = typeof hint === 'number' && !Number.isNaN(hint) ? hint : this.#ttlMs;
    return Math.max(0, Math.min(ttlMs, this.#maxTtlMs));
  }

  /** Forgets the results of one method, or all. */
  drop(method?: string): void {
    this.epoch++;
    const entries = this.#entries;
    if (method === undefined) entries?.clear();
    else for (const [key, entry] of entries ?? []) if (entry.method === method) entries?.delete(key);
  }

  dropUri(uri: string): void {
    this.epoch++;
    for (const key of this.#keysOfUri?.get(uri) ?? []) this.#entries?.delete(key);
  }

  #rememberUri({ uri }: Entry, key: string): void {
    if (uri === undefined) return;
    this.#keysOfUri ??= new Map<string, Set<string>>();
    const keys = this.#keysOfUri.get(uri);
    if (keys === undefined) this.#keysOfUri.set(uri, new Set([key]));
    else keys.add(key);
  }

  #forgetUri({ uri }: Entry, key: string): void {
    if (uri === undefined) return;
    const keys = this.#keysOfUri?.get(uri);
    if (keys?.delete(key) === true && keys.size === 0) this.#keysOfUri?.delete(uri);
  }
}

const publicKey = (key: string): string => `${key}\n*`;
const privateKey = (key: string, request: Request): string =>
  request.principal === undefined ? `${key}\n-` : `${key}\n=${request.principal.id}`;

function jsonOf(response: Response): string | undefined {
  try {
    return JSON.stringify(response);
  } catch {
    return undefined;
  }
}

/** Freezes a JSON value with all that is in it. Iterative, so that depth costs no stack. */
function frozen<T>(value: T): T {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const item = open.pop();
    if (typeof item !== 'object' || item === null) continue;
    Object.freeze(item);
    for (const part of Object.values(item)) if (typeof part === 'object' && part !== null) open.push(part);
  }
  return value;
}
