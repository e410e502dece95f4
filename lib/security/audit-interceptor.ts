import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import type { Interceptor } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import type { AuditTrail } from './audit.ts';
import type { AuditFields } from './audit-record.ts';

export interface AuditInterceptorOptions {
  readonly trail: AuditTrail;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * One record before a request goes on and one when it has settled. Where the first cannot be written and the trail
 * refuses, the request is not made (`denied`, unsent). Where only the second fails, the answer still reaches the caller: the
 * effect is on record, and the trail refuses what comes next.
 */
export function audit({ trail, clock }: AuditInterceptorOptions): Interceptor {
  return (next) => (request) => {
    try {
      trail.append('intent', intentOf(request, trail));
    } catch (error) {
      return Promise.reject(TroupeError.from(error));
    }
    const settle = (outcome: AuditFields): void => {
      try {
        trail.append('outcome', { request: request.seq, ...outcome, ...factsOf(request, clock.now()) });
      } catch {
        // Told to the trail's own `onError`, and written as a gap.
      }
    };
    return next(request).then(
      (response) => {
        settle({ ok: true, ...(response['isError'] === true ? { isError: true } : {}) });
        return response;
      },
      (error: unknown) => {
        settle({ ok: false, ...failureOf(error) });
        throw error;
      },
    );
  };
}

function intentOf(request: Request, trail: AuditTrail): AuditFields {
  const { seq, method, server, target, principal, params } = request;
  const given = params?.['arguments'];
  return {
    request: seq,
    method,
    server,
    target,
    principal: principal?.id,
    tenant: principal?.tenant,
    arguments: given === undefined ? undefined : trail.digest(given),
  };
}

/** Codes only: texts of servers may carry what does not belong in a trail. */
function failureOf(error: unknown): AuditFields {
  return isTroupeError(error)
    ? { code: error.code, delivery: error.delivery, server: error.server }
    : { code: 'internal' };
}

function factsOf(request: Request, now: number): AuditFields {
  const { attempts, rounds, connection, cache } = request.facts;
  return {
    connection,
    attempts,
    rounds: rounds === 0 ? undefined : rounds,
    cache,
    elapsedMs: Math.round((now - request.startedAt) * 1000) / 1000,
  };
}
