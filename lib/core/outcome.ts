import { isTroupeError } from './errors.ts';
import type { Response } from './interceptor.ts';

/**
 * How an attempt ended, for breaker, metrics and retry alike (`routing.md` §3.1). `ok` and `tool-error` are answers;
 * `app-error` is the caller's mistake; `overload`, `transport` and `timeout` count against the replica;
 * `refused` never reached it and `cancelled` says nothing about it.
 */
export type Outcome =
  | 'ok'
  | 'tool-error'
  | 'app-error'
  | 'server-error'
  | 'overload'
  | 'transport'
  | 'timeout'
  | 'refused'
  | 'cancelled';

/** `data.reason` of what was cancelled since another request for the same had its answer first. */
export const SUPERSEDED = 'superseded';

/** `data.reason` of what we do not ask a replica, which says nothing of its health. */
export const NOT_COMPARED = 'not_compared';

function isOurRefusal(data: unknown): boolean {
  return (data as { readonly reason?: unknown } | undefined)?.reason === NOT_COMPARED;
}

/** Outcomes that say something about the health of a replica. */
export function isCountable(outcome: Outcome): boolean {
  return outcome !== 'cancelled' && outcome !== 'refused';
}

/** Outcomes that say something bad about the health of a replica. */
export function isFailure(outcome: Outcome): boolean {
  return (
    outcome === 'transport' || outcome === 'timeout' || outcome === 'overload' || outcome === 'server-error'
  );
}

export function outcomeOfResult(result: Response): Outcome {
  return result['isError'] === true ? 'tool-error' : 'ok';
}

/** JSON-RPC: internal error. The server's own fault, unlike −32601 and −32602. */
const INTERNAL_ERROR = -32603;

export function outcomeOfError(error: unknown): Outcome {
  if (!isTroupeError(error)) return 'transport';
  switch (error.code) {
    case 'cancelled':
    case 'stopped':
      return 'cancelled';
    case 'deadline_exceeded':
      return error.delivery === 'unsent' ? 'refused' : 'timeout';
    case 'unavailable':
      return isOurRefusal(error.data) ? 'refused' : 'transport';
    case 'connection_lost':
    case 'outcome_unknown':
    case 'invalid_response':
    case 'internal':
      return 'transport';
    case 'rate_limited':
    case 'queue_full':
      return error.delivery === 'unsent' ? 'refused' : 'overload';
    case 'protocol_error': {
      const code = (error.data as { code?: unknown } | undefined)?.code;
      return code === INTERNAL_ERROR ? 'server-error' : 'app-error';
    }
    case 'limit_exceeded':
      return error.delivery === 'unsent' ? 'refused' : 'transport';
    case 'circuit_open':
    case 'affinity_lost':
    case 'auth_required':
    case 'denied':
    case 'config_invalid':
      return 'refused';
    case 'not_found':
    case 'ambiguous_name':
    case 'invalid_request':
    case 'unsupported':
      return error.delivery === 'answered' ? 'app-error' : 'refused';
  }
}
