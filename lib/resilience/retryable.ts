import { type ErrorCode, TroupeError, isTroupeError } from '../core/errors.ts';
import type { OperationClass, Request } from '../core/request.ts';

/** Why a failure is or is not worth another attempt; a word for logs and specs. */
export type RetryReason =
  /** It never left the engine: nothing can have happened twice. */
  | 'not_sent'
  /** The server says that it refused before it did anything (429, a wrong protocol revision). */
  | 'not_processed'
  /** It may have run, and running it again does no harm. */
  | 'repeatable'
  /** It may have run, and must not run twice. */
  | 'may_have_run'
  /** The server answered: the same question gets the same answer. */
  | 'answered'
  /** Another attempt would meet the same obstacle: a refusal, a caller's mistake, a bug. */
  | 'final'
  /** The caller gave up or the time is over. */
  | 'over';

export interface RetryVerdict {
  readonly retry: boolean;
  readonly reason: RetryReason;
  /** The server's own wish (Retry-After), at most `MAX_RETRY_AFTER_MS`. */
  readonly afterMs?: number;
}

/** Longest Retry-After that is honoured, milliseconds; a server must not park a request for a day. */
export const MAX_RETRY_AFTER_MS = 60_000;

/**
 * Codes that no other replica and no later moment cures, whatever was delivered. `internal` is among them because an
 * error of unknown origin says nothing about delivery; `unavailable` and the other transient codes are not.
 */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'cancelled',
  'stopped',
  'not_found',
  'ambiguous_name',
  'invalid_request',
  'denied',
  'auth_required',
  'unsupported',
  'affinity_lost',
  'config_invalid',
  'internal',
]);

/** With `delivery: 'answered'` these mean that the server turned the request away unread (`routing.md` §3.5). */
const REFUSED_UNREAD: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['rate_limited', 'queue_full']);

/**
 * HeaderMismatch and UnsupportedProtocolVersion: rejected before dispatch, and the session may have negotiated anew
 * by the next attempt. MissingRequiredClientCapability (−32021) is left out: we would declare the same again.
 */
const REFUSED_BY_PROTOCOL: ReadonlySet<number> = new Set([-32_020, -32_022]);

/** Failures of the way, not of the request; only they are worth a repeat once the request may have run. */
const BROKEN_WAY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'connection_lost',
  'outcome_unknown',
  'unavailable',
  'deadline_exceeded',
  'invalid_response',
]);

/** Whether a second execution is harmless. */
function isRepeatable(operation: OperationClass): boolean {
  return operation !== 'unsafe';
}

/**
 * The judgement of the retry layer, pure: the delivery fact first, then the class of the operation (`routing.md` §3.5,
 * `reliability.md` §5.4). It knows neither budgets nor the number of attempts.
 */
export function isRetryable(
  error: unknown,
  request: Pick<Request, 'operation' | 'cancellation'>,
): RetryVerdict {
  if (request.cancellation.cancelled) return { retry: false, reason: 'over' };
  if (!isTroupeError(error) || FINAL.has(error.code)) return { retry: false, reason: 'final' };
  if (error.delivery === 'unsent') {
    // A limit of ours on the request itself is met again; one that names a time (a full write queue) is not.
    const metAgain = error.code === 'limit_exceeded' && error.retryAfterMs === undefined;
    return metAgain ? { retry: false, reason: 'final' } : allowed('not_sent', error);
  }
  if (error.delivery === 'sent') return mayHaveRun(error, request.operation);
  if (REFUSED_UNREAD.has(error.code) || isRefusedByProtocol(error)) return allowed('not_processed', error);
  // 503: a proxy may send it after the work ran, so it is as good as no answer.
  if (error.code === 'unavailable') return mayHaveRun(error, request.operation);
  return { retry: false, reason: 'answered' };
}

function mayHaveRun(error: TroupeError, operation: OperationClass): RetryVerdict {
  if (!BROKEN_WAY.has(error.code)) return { retry: false, reason: 'final' };
  if (!isRepeatable(operation)) return { retry: false, reason: 'may_have_run' };
  return allowed('repeatable', error);
}

function allowed(reason: RetryReason, error: TroupeError): RetryVerdict {
  const after = error.retryAfterMs;
  if (after === undefined || !(after > 0)) return { retry: true, reason };
  return { retry: true, reason, afterMs: Math.min(after, MAX_RETRY_AFTER_MS) };
}

function isRefusedByProtocol(error: TroupeError): boolean {
  if (error.code !== 'protocol_error') return false;
  const code = (error.data as { readonly code?: unknown } | undefined)?.code;
  return typeof code === 'number' && REFUSED_BY_PROTOCOL.has(code);
}

/**
 * The name a failure has for the caller: a lost connection means `outcome_unknown` where the request may have run and
 * is not safe to repeat. An ambiguous read stays `connection_lost`.
 */
export function namedOutcome(error: unknown, request: Pick<Request, 'operation'>): unknown {
  if (!isTroupeError(error) || isRepeatable(request.operation)) return error;
  if (error.delivery !== 'sent' || (error.code !== 'connection_lost' && error.code !== 'unavailable'))
    return error;
  return new TroupeError(
    'outcome_unknown',
    `it was handed over and may have run; it was not run again (${error.detail})`,
    {
      server: error.server,
      connection: error.connection,
      attempt: error.attempt,
      delivery: 'sent',
      data: error.data,
      cause: error,
    },
  );
}
