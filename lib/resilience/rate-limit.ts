import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { pauseBy, type Pause } from './pause.ts';

export interface RateLimitRule {
  /** Requests per second in the long run; above 0, `Infinity` for no limit. */
  readonly perSecond: number;
  /** Requests at once after a pause; at least 1. */
  readonly burst: number;
}

export interface TokenBucket {
  /** Milliseconds until the next request may go; 0: now. */
  readonly waitMs: number;
  /** Takes the next place in line, to be used after `waitMs` as it was before. */
  take(): void;
  /** Gives a place back that was not used. */
  giveBack(): void;
}

/**
 * A token bucket kept as one number, the time at which it will be full (GCRA, ITU-T I.371): no timer refills it, and
 * places are given in the order asked.
 */
export function createTokenBucket({
  clock,
  perSecond,
  burst,
}: RateLimitRule & { readonly clock: Clock }): TokenBucket {
  const intervalMs = 1000 / perSecond;
  const toleranceMs = intervalMs === 0 ? 0 : intervalMs * (burst - 1);
  let fullAt = -Infinity;
  return {
    get waitMs() {
      return Math.max(0, fullAt - toleranceMs - clock.now());
    },
    take() {
      fullAt = Math.max(fullAt, clock.now()) + intervalMs;
    },
    giveBack() {
      fullAt -= intervalMs;
    },
  };
}

export interface RateLimitOptions {
  readonly clock: Clock;
  /** One bucket per server; `undefined`: no limit. */
  readonly bucket: (request: Request) => TokenBucket | undefined;
  /** How a layer waits. Default: by `clock`, as long as it takes. */
  readonly pause?: Pause | undefined;
}

/** Keeps to the rate agreed with a server: a request waits if its turn comes within the deadline, else `rate_limited`. */
export function rateLimit({
  clock,
  bucket: bucketOf,
  pause = pauseBy(clock),
}: RateLimitOptions): Interceptor {
  return (next) => (request) => {
    const bucket = bucketOf(request);
    if (bucket === undefined) return next(request);
    const { waitMs } = bucket;
    if (waitMs > 0 && clock.now() + waitMs >= request.deadline)
      return Promise.reject(limited(request, waitMs));
    bucket.take();
    return waitMs === 0
      ? next(request)
      : afterTurn(next, request, bucket, pause(waitMs, request.cancellation));
  };
}

async function afterTurn(
  next: Handler,
  request: Request,
  bucket: TokenBucket,
  turn: Promise<void>,
): Promise<Response> {
  try {
    await turn;
  } catch (error) {
    bucket.giveBack();
    throw error;
  }
  return next(request);
}

function limited(request: Request, waitMs: number): TroupeError {
  const retryAfterMs = Math.ceil(waitMs);
  return new TroupeError(
    'rate_limited',
    `its turn under the rate limit comes in ${retryAfterMs} ms, after the deadline`,
    {
      server: request.server,
      attempt: request.attempt,
      retryAfterMs,
    },
  );
}
