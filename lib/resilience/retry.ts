import pRetry from 'p-retry';
import type { ChildCancellation } from '../core/cancellation.ts';
import type { Clock, DeadlineEntry } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Random } from '../core/ports.ts';
import { type Request, amend } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';
import { pauseBy, type Pause } from './pause.ts';
import type { RetryBudget } from './retry-budget.ts';
import { isRetryable, namedOutcome } from './retryable.ts';

/** How often and how soon one server is asked again. */
export interface RetryPolicy {
  /** Attempts after the first. The engine gives 2 (SRE book: 3 attempts in all). */
  readonly retries: number;
  /** Full jitter: before retry k (from 0) the wait is uniform in 0 … min(capMs, baseMs × 2^k). The engine gives 100 … */
  readonly baseMs: number;
  /** … and 2 000 (`routing.md` §3.6). */
  readonly capMs: number;
  /**
   * How long one attempt may take where the operation may be repeated, milliseconds: without it one replica that hangs
   * costs the whole deadline. Absent, or beyond the deadline: no bound of its own.
   */
  readonly attemptMs?: number | undefined;
}

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** `undefined`: no retries for this request; a failure still gets its proper name. */
  readonly policy: (request: Request) => RetryPolicy | undefined;
  /** One per server, shared with the hedges towards it. `undefined`: unlimited. */
  readonly budget: (request: Request) => RetryBudget | undefined;
  /** Told before each wait. */
  readonly onRetry?: ((request: Request, error: TroupeError, waitMs: number) => void) | undefined;
  /** How a layer waits. Default: by `clock`, as long as it takes. */
  readonly pause?: Pause | undefined;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/**
 * Asks again where `isRetryable` allows it, the budget has something left and the wait fits before the deadline. A
 * retry has `attempt` one higher and the failed connection in `tried`. Nothing of this runs until something failed.
 *
 * Install it even where nothing is retried: it is also what turns a lost unsafe request into `outcome_unknown`.
 */
export function retry(options: RetryOptions): Interceptor {
  const { stages = createStages() } = options;
  return (below) => {
    const ask = bounded(below, options);
    // Not async: a frame costs as much as the rest of this layer, for the many that do not fail.
    return (request) => {
      stages.retry += 1;
      options.budget(request)?.deposit();
      return ask(request).catch((error: unknown) => failed(ask, request, error, options));
    };
  };
}

/** The ordinary failure, an answer or a refusal, does not pay for the loop. */
function failed(next: Handler, request: Request, error: unknown, options: RetryOptions): Promise<Response> {
  const policy = options.policy(request);
  if (policy === undefined || policy.retries < 1 || !isRetryable(error, request).retry) {
    throw namedOutcome(error, request);
  }
  return again(next, request, TroupeError.from(error), policy, options);
}

/** Ends an attempt after its own time where another may follow. */
function bounded(next: Handler, { clock, policy }: RetryOptions): Handler {
  return (request) => {
    if (request.operation === 'unsafe') return next(request);
    const { attemptMs = Infinity } = policy(request) ?? {};
    const end = clock.now() + attemptMs;
    return end < request.deadline
      ? new BoundedAttempt(request, attemptMs).run(next, clock, end)
      : next(request);
  };
}

class BoundedAttempt implements DeadlineEntry {
  readonly #request: Request;
  readonly #attemptMs: number;
  readonly #cancellation: ChildCancellation;
  wheelSlot: DeadlineEntry['wheelSlot'] = undefined;
  wheelBefore: DeadlineEntry | undefined = undefined;
  wheelAfter: DeadlineEntry | undefined = undefined;

  constructor(request: Request, attemptMs: number) {
    this.#request = request;
    this.#attemptMs = attemptMs;
    this.#cancellation = request.cancellation.child();
  }

  async run(next: Handler, clock: Clock, end: number): Promise<Response> {
    clock.deadline(end, this);
    try {
      return await next(amend(this.#request, { cancellation: this.#cancellation }));
    } finally {
      clock.cancelDeadline(this);
      this.#cancellation.release();
    }
  }

  onDeadline(): void {
    const { server, attempt } = this.#request;
    const detail = `attempt ${attempt} took longer than ${this.#attemptMs} ms (\`retry.attemptMs\`)`;
    this.#cancellation.cancel(new TroupeError('deadline_exceeded', detail, { server, attempt }));
  }
}

/** Retry k (from 0) waits for a uniform share of this many milliseconds. */
export function backoffCeiling(policy: RetryPolicy, k: number): number {
  return Math.min(policy.capMs, policy.baseMs * 2 ** k);
}

async function again(
  next: Handler,
  request: Request,
  first: TroupeError,
  policy: RetryPolicy,
  options: RetryOptions,
): Promise<Response> {
  const { clock, random, budget, onRetry } = options;
  const wait = options.pause ?? pauseBy(clock);
  let tried = request.tried;
  let maySent = first.delivery === 'sent';

  const attemptOnce = async (number: number): Promise<Response> => {
    // The first attempt has already been made: its failure is where the loop starts.
    if (number === 1) throw first;
    const attempt = request.attempt + number - 1;
    try {
      return await next(amend(request, { attempt, tried }));
    } catch (error) {
      // p-retry takes a TypeError for a bug and anything but an Error for a TypeError: it only sees our own class.
      const failure = TroupeError.from(error);
      maySent ||= failure.delivery === 'sent';
      throw failure.attempt === attempt ? failure : failure.with({ attempt });
    }
  };

  const shouldRetry = async (failure: TroupeError, k: number): Promise<boolean> => {
    const verdict = isRetryable(failure, request);
    if (!verdict.retry) return false;
    const waitMs = verdict.afterMs ?? random() * backoffCeiling(policy, k);
    // A wait that ends after the deadline only delays the bad news.
    if (clock.now() + waitMs >= request.deadline) return false;
    if (budget(request)?.withdraw() === false) return false;
    const { connection } = failure;
    if (connection !== undefined && !tried.includes(connection)) tried = [...tried, connection];
    onRetry?.(request, failure, waitMs);
    await wait(waitMs, request.cancellation);
    return true;
  };

  try {
    return await pRetry(attemptOnce, {
      retries: policy.retries,
      // The waits of p-retry are neither seeded nor full jitter nor ended by a cancellation; ours stand above.
      minTimeout: 0,
      factor: 1,
      shouldRetry: ({ error, retriesConsumed }) => shouldRetry(error as TroupeError, retriesConsumed),
    });
  } catch (error) {
    const last = error as TroupeError;
    // An earlier attempt may have run although the last one was never sent.
    throw namedOutcome(
      maySent && last.delivery === 'unsent' ? last.with({ delivery: 'sent' }) : last,
      request,
    );
  }
}
