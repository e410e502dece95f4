import type { ChildCancellation } from '../core/cancellation.ts';
import type { Clock, DeadlineEntry } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { SUPERSEDED } from '../core/outcome.ts';
import { type Request, amend } from '../core/request.ts';
import { type LatencyQuantile, createLatencyQuantile } from './latency-quantile.ts';
import { type RetryBudget, createRetryBudget } from './retry-budget.ts';
import { isRetryable } from './retryable.ts';

export interface HedgePolicy {
  /** The second request starts when the first has taken longer than this share of those before. The engine gives 0.95 … */
  readonly quantile: number;
  /** … once this many were seen (20), … */
  readonly minSamples: number;
  /** … but not sooner than this, milliseconds (Finagle: 1). */
  readonly minDelayMs: number;
  /** Second requests per request. The engine gives 0.05 (Dean & Barroso, "The Tail at Scale"). */
  readonly budgetRatio: number;
  /** None when more than this share of the pool is busy: they would make it worse. The engine gives 0.5 (`routing.md` §3.6). */
  readonly maxUtilisation: number;
}

export interface HedgeOptions {
  readonly clock: Clock;
  /** One object per server, the same each time. `undefined`: not hedged, for example because the server has one replica. */
  readonly policy: (request: Request) => HedgePolicy | undefined;
  /** The budget that retries towards the same server spend. */
  readonly budget: (request: Request) => RetryBudget | undefined;
  /** Busy share of the slots of the pool, 0 … 1. */
  readonly utilisation: (request: Request) => number;
  /** Whether anybody else could be asked than these connections. Default: there always is. */
  readonly hasOther?: ((request: Request, tried: readonly string[]) => boolean) | undefined;
}

/** Different things to ask, of one server, whose latency is kept apart. */
const MAX_TARGETS = 256;
const BUDGET_WINDOW_MS = 10_000;

/**
 * Asks a second replica when the first takes unusually long; the first success wins and the other is cancelled. Only
 * for what changes nothing. A failure never wins: it starts the second request at once where another attempt makes
 * sense, and both failing is a failure with the last error.
 *
 * The second request has the connection of the first in `tried`, as far as `facts.connection` names it by then.
 */
export function hedge(options: HedgeOptions): Interceptor {
  const servers = new Map<string, ServerHedging>();

  return (next) => (request) => {
    if (request.operation !== 'read' && request.operation !== 'read-only') return next(request);
    const policy = options.policy(request);
    if (policy === undefined) return next(request);
    const name = request.server ?? '';
    let server = servers.get(name);
    if (server === undefined || server.policy !== policy) {
      server = new ServerHedging(options, policy);
      servers.set(name, server);
    }
    server.budget.deposit();
    const latency = server.latencyOf(request);
    const delayMs = latency.value;
    if (delayMs === undefined) return measured(next, request, latency, options.clock);
    return new Promise((resolve, reject) => {
      new HedgedCall(next, request, server, latency, resolve, reject).start(delayMs);
    });
  };
}

/** Too little is known yet: the first request runs alone and teaches. */
async function measured(
  next: Handler,
  request: Request,
  latency: LatencyQuantile,
  clock: Clock,
): Promise<Response> {
  const startedAt = clock.now();
  const response = await next(request);
  latency.add(clock.now() - startedAt);
  return response;
}

/** What is known of one server. */
class ServerHedging {
  readonly clock: Clock;
  readonly policy: HedgePolicy;
  /** Second requests have no reserve: a quiet server earns them by requests, at 5 % twenty for one. */
  readonly budget: RetryBudget;
  readonly #options: HedgeOptions;
  readonly #latencies = new Map<string, LatencyQuantile>();

  constructor(options: HedgeOptions, policy: HedgePolicy) {
    this.clock = options.clock;
    this.policy = policy;
    this.#options = options;
    this.budget = createRetryBudget({
      clock: options.clock,
      ratio: policy.budgetRatio,
      minPerSecond: 0,
      windowMs: BUDGET_WINDOW_MS,
    });
  }

  /** By tool, else by method: a slow tool must not be compared with a fast one, nor every URI be a stranger. */
  latencyOf(request: Request): LatencyQuantile {
    const key = request.method === 'tools/call' ? (request.target ?? '') : request.method;
    let latency = this.#latencies.get(key);
    if (latency === undefined) {
      const oldest = this.#latencies.keys().next();
      if (this.#latencies.size >= MAX_TARGETS && oldest.done !== true) this.#latencies.delete(oldest.value);
      const { quantile, minSamples } = this.policy;
      latency = createLatencyQuantile({ clock: this.clock, quantile, minSamples });
      this.#latencies.set(key, latency);
    }
    return latency;
  }

  /** Takes one from both budgets, or from neither. */
  grants(request: Request, tried: readonly string[]): boolean {
    if (this.#options.hasOther?.(request, tried) === false) return false;
    if (this.#options.utilisation(request) > this.policy.maxUtilisation) return false;
    if (this.budget.balance < 1 - 1e-9) return false;
    if (this.#options.budget(request)?.withdraw() === false) return false;
    return this.budget.withdraw();
  }
}

/** One request and its second try; the entry of its delay on the wheel as well. */
class HedgedCall implements DeadlineEntry {
  readonly #next: Handler;
  readonly #request: Request;
  readonly #server: ServerHedging;
  readonly #latency: LatencyQuantile;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: unknown) => void;
  readonly #legs: ChildCancellation[] = [];
  #running = 0;
  #done = false;
  #firstStartedAt = 0;
  wheelSlot: DeadlineEntry['wheelSlot'] = undefined;
  wheelBefore: DeadlineEntry | undefined = undefined;
  wheelAfter: DeadlineEntry | undefined = undefined;

  constructor(
    next: Handler,
    request: Request,
    server: ServerHedging,
    latency: LatencyQuantile,
    resolve: (response: Response) => void,
    reject: (error: unknown) => void,
  ) {
    this.#next = next;
    this.#request = request;
    this.#server = server;
    this.#latency = latency;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(delayMs: number): void {
    const { clock, policy } = this.#server;
    this.#firstStartedAt = clock.now();
    clock.deadline(this.#firstStartedAt + Math.max(delayMs, policy.minDelayMs), this);
    void this.#run(this.#request.tried);
  }

  onDeadline(): void {
    this.#second();
  }

  /** True if a second request was started. */
  #second(): boolean {
    if (this.#done || this.#legs.length > 1 || this.#request.cancellation.cancelled) return false;
    const { tried, facts } = this.#request;
    const { connection } = facts;
    const asked = connection === undefined || tried.includes(connection) ? tried : [...tried, connection];
    if (!this.#server.grants(this.#request, asked)) return false;
    void this.#run(asked);
    return true;
  }

  async #run(tried: readonly string[]): Promise<void> {
    const cancellation = this.#request.cancellation.child();
    const { clock } = this.#server;
    const startedAt = clock.now();
    this.#legs.push(cancellation);
    this.#running++;
    try {
      const response = await this.#next(amend(this.#request, { cancellation, tried }));
      this.#running--;
      if (!this.#done) {
        this.#latency.add(clock.now() - startedAt);
        this.#won(cancellation);
        this.#resolve(response);
      }
    } catch (error) {
      this.#running--;
      if (!this.#done) this.#failed(error);
    }
    cancellation.release();
  }

  #won(winner: ChildCancellation): void {
    this.#end();
    const [first] = this.#legs;
    // A loser took at least this long; leaving it out would shorten the delay with every hedge that wins.
    if (first !== winner) this.#latency.add(this.#server.clock.now() - this.#firstStartedAt);
    for (const leg of this.#legs) if (leg !== winner && !leg.cancelled) leg.cancel(lost(this.#request));
  }

  #failed(error: unknown): void {
    if (this.#running > 0) return;
    if (isRetryable(error, this.#request).retry && this.#second()) {
      this.#server.clock.cancelDeadline(this);
      return;
    }
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.#done = true;
    this.#server.clock.cancelDeadline(this);
  }
}

function lost(request: Request): TroupeError {
  return new TroupeError('cancelled', `${request.method} was answered by another replica first`, {
    server: request.server,
    attempt: request.attempt,
    data: { reason: SUPERSEDED },
  });
}
