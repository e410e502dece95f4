import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { type Outcome, isCountable, isFailure, outcomeOfError, outcomeOfResult } from '../core/outcome.ts';
import type { Request } from '../core/request.ts';

/** AIMD as in Netflix concurrency-limits, with a floor that fits servers which want one request at a time. */
export interface AdaptiveOptions {
  /** Never fewer slots than this. Default 1 (Netflix: 20, too many for a stdio server, `routing.md` §1.5). */
  readonly min?: number;
}

export interface BulkheadOptions {
  readonly clock: Clock;
  /** For error texts: `replica alpha#0`, `tool alpha__echo`, `tenant acme`. */
  readonly name: string;
  readonly server?: string | undefined;
  /** Requests running at the same time. */
  readonly max: number;
  /** Requests waiting at most; 0 refuses at once. */
  readonly maxQueue: number;
  /**
   * `fifo` (default), or `adaptive-lifo`: when the queue has not been empty for 100 ms, the newest goes first, because
   * the oldest will not make it any more (Facebook, "Fail at Scale").
   */
  readonly discipline?: 'fifo' | 'adaptive-lifo' | undefined;
  /** The number of slots follows what the replica bears, between `min` and `max`. Default: fixed. */
  readonly adaptive?: AdaptiveOptions | undefined;
  /** A slot became free and nobody waits for it here. */
  readonly onFree?: (() => void) | undefined;
}

/** A number of slots with a bounded queue before them. */
export interface Bulkhead {
  /** Slots now; below `max` only when adaptive. */
  readonly limit: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly hasFree: boolean;
  /** Mean service time in milliseconds, 0 while unknown. */
  readonly meanMs: number;
  /** A slot at once, or none. */
  tryAcquire(): boolean;
  /** `undefined`: a slot was free and is taken. Otherwise resolves with the slot taken, or rejects. */
  acquire(request: Request): Promise<void> | undefined;
  /** Gives the slot back; exactly once per slot. */
  release(elapsedMs: number, outcome: Outcome): void;
}

/** Weight of the newest service time in the mean. */
const MEAN_WEIGHT = 0.1;
/** Multiplicative decrease (Netflix `AIMDLimit`: 0.9). */
const BACKOFF_RATIO = 0.9;
/** How long a queue may be non-empty before the newest goes first, milliseconds ("Fail at Scale": 100). */
const STANDING_QUEUE_MS = 100;
/** What `retryAfterMs` says while no service time is known. */
const RETRY_AFTER_UNKNOWN_MS = 100;

export function createBulkhead(options: BulkheadOptions): Bulkhead {
  return new Semaphore(options);
}

/**
 * How many may wait so that the last of them still ends within its deadline: ⌊slots · (remaining − mean) / mean⌋, at
 * most `maxQueue`. A longer queue turns overload into work that is done for nobody (`routing.md` §0.4).
 */
export function queueCap(slots: number, remainingMs: number, meanMs: number, maxQueue: number): number {
  if (!(meanMs > 0)) return remainingMs > 0 ? maxQueue : 0;
  return Math.max(0, Math.min(maxQueue, Math.floor((slots * (remainingMs - meanMs)) / meanMs)));
}

/** Requests to one replica at the same time. Give it a `maxQueue` of 0 where the mask already looks for a free slot. */
export function slots({
  bulkhead,
  clock,
}: {
  readonly bulkhead: Bulkhead;
  readonly clock: Clock;
}): Interceptor {
  return (next) => (request) => inSlot(next, request, bulkhead, clock);
}

/** Runs `next` in a slot of `bulkhead`, waiting for one where that is allowed. */
export async function inSlot(
  next: Handler,
  request: Request,
  bulkhead: Bulkhead,
  clock: Clock,
): Promise<Response> {
  const waiting = bulkhead.acquire(request);
  if (waiting !== undefined) await waiting;
  const startedAt = clock.now();
  let response;
  try {
    response = await next(request);
  } catch (error) {
    bulkhead.release(clock.now() - startedAt, pressureOf(error));
    throw error;
  }
  bulkhead.release(clock.now() - startedAt, outcomeOfResult(response));
  return response;
}

/** Who asks for patience (429, or a Retry-After with whatever) has too much to do, although it refused nothing by it. */
function pressureOf(error: unknown): Outcome {
  const patience =
    isTroupeError(error) && (error.code === 'rate_limited' || error.retryAfterMs !== undefined);
  return patience ? 'overload' : outcomeOfError(error);
}

class Semaphore implements Bulkhead {
  readonly #options: BulkheadOptions;
  readonly #queue = new WaitingLine();
  #limit: number;
  #inFlight = 0;
  #meanMs = 0;
  #queueStandsSince = Infinity;

  constructor(options: BulkheadOptions) {
    this.#options = options;
    this.#limit = options.max;
  }

  get limit(): number {
    return this.#limit;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queue.size;
  }

  get hasFree(): boolean {
    return this.#inFlight < this.#limit;
  }

  get meanMs(): number {
    return this.#meanMs;
  }

  tryAcquire(): boolean {
    if (this.#inFlight >= this.#limit) return false;
    this.#inFlight++;
    return true;
  }

  acquire(request: Request): Promise<void> | undefined {
    return this.tryAcquire() ? undefined : this.#enqueue(request);
  }

  release(elapsedMs: number, outcome: Outcome): void {
    if (isCountable(outcome)) {
      this.#noteService(elapsedMs, outcome);
      if (this.#options.adaptive !== undefined) this.#adapt(outcome, this.#options.adaptive);
    }
    this.#inFlight--;
    if (this.#queue.size > 0) this.#admit();
    if (this.#inFlight < this.#limit) this.#options.onFree?.();
  }

  /** A timeout took at least as long as it was given; another failure says nothing about how long work takes. */
  #noteService(elapsedMs: number, outcome: Outcome): void {
    if (outcome !== 'timeout' && isFailure(outcome)) return;
    const before = this.#meanMs;
    const ms = outcome === 'timeout' ? Math.max(elapsedMs, before) : elapsedMs;
    this.#meanMs = before === 0 ? ms : before + MEAN_WEIGHT * (ms - before);
  }

  #adapt(outcome: Outcome, { min = 1 }: AdaptiveOptions): void {
    if (outcome === 'timeout' || outcome === 'overload') {
      this.#limit = Math.max(min, Math.floor(this.#limit * BACKOFF_RATIO));
    } else if (this.#inFlight * 2 >= this.#limit) {
      this.#limit = Math.min(this.#options.max, this.#limit + 1);
    }
  }

  #enqueue(request: Request): Promise<void> {
    const { clock, maxQueue } = this.#options;
    const { cancellation } = request;
    if (cancellation.reason !== undefined) return Promise.reject(cancellation.reason);
    const now = clock.now();
    if (request.deadline <= now) return Promise.reject(this.#expired(request));
    if (this.#queue.size >= queueCap(this.#limit, request.deadline - now, this.#meanMs, maxQueue)) {
      return Promise.reject(this.#full(request));
    }
    if (this.#queue.size === 0) this.#queueStandsSince = now;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { request, resolve, reject, slot: -1, before: undefined, after: undefined };
      this.#queue.append(waiter);
      waiter.slot = cancellation.listen((reason) => {
        this.#queue.remove(waiter);
        reject(reason);
      });
    });
  }

  /** Gives free slots to those who wait; work that nobody waits for any more is dropped here, not started. */
  #admit(): void {
    const now = this.#options.clock.now();
    while (this.#inFlight < this.#limit) {
      const waiter = this.#next(now);
      if (waiter === undefined) return;
      this.#queue.remove(waiter);
      waiter.request.cancellation.ignore(waiter.slot);
      if (waiter.request.deadline <= now) {
        waiter.reject(this.#expired(waiter.request));
        continue;
      }
      this.#inFlight++;
      waiter.resolve();
    }
  }

  #next(now: number): Waiter | undefined {
    const newestFirst =
      this.#options.discipline === 'adaptive-lifo' && now - this.#queueStandsSince > STANDING_QUEUE_MS;
    return newestFirst ? this.#queue.last : this.#queue.first;
  }

  #full(request: Request): TroupeError {
    const { name, server } = this.#options;
    const waitMs =
      this.#meanMs === 0 ? RETRY_AFTER_UNKNOWN_MS : (this.#meanMs * (this.#queue.size + 1)) / this.#limit;
    return new TroupeError(
      'queue_full',
      `${name} has ${this.#inFlight} of ${this.#limit} slots taken and ${this.#queue.size} requests waiting`,
      {
        server: server ?? request.server,
        attempt: request.attempt,
        retryAfterMs: Math.max(1, Math.ceil(waitMs)),
      },
    );
  }

  #expired(request: Request): TroupeError {
    const { name, server } = this.#options;
    return new TroupeError('deadline_exceeded', `${request.method} was still waiting for a slot of ${name}`, {
      server: server ?? request.server,
      attempt: request.attempt,
    });
  }
}

interface Waiter {
  readonly request: Request;
  readonly resolve: () => void;
  readonly reject: (error: TroupeError) => void;
  /** Of its cancellation listener. */
  slot: number;
  before: Waiter | undefined;
  after: Waiter | undefined;
}

/** A doubly linked list: whoever gives up leaves it in constant time. */
class WaitingLine {
  size = 0;
  first: Waiter | undefined;
  last: Waiter | undefined;

  append(waiter: Waiter): void {
    waiter.before = this.last;
    if (this.last === undefined) this.first = waiter;
    else this.last.after = waiter;
    this.last = waiter;
    this.size++;
  }

  remove(waiter: Waiter): void {
    if (waiter.before === undefined) this.first = waiter.after;
    else waiter.before.after = waiter.after;
    if (waiter.after === undefined) this.last = waiter.before;
    else waiter.after.before = waiter.before;
    waiter.before = undefined;
    waiter.after = undefined;
    this.size--;
  }
}
