import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import type { Interceptor } from '../core/interceptor.ts';
import type { Request, RequestFacts } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';
import type { AuditTrail } from './audit.ts';
import type { AuditFields } from './audit-record.ts';

export interface AuditInterceptorOptions {
  readonly trail: AuditTrail;
  readonly clock: Pick<Clock, 'now'>;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/**
 * Two places on the path, so that every operation has exactly one intent and one outcome. `whole` stands above all that can
 * end an operation (its deadline, a name that nobody knows, an interceptor of the host) and writes the outcome. `before`
 * stands where the server and its own name are known, above policy: it writes the intent, or the path is not taken.
 */
export interface AuditLayers {
  readonly whole: Interceptor;
  readonly before: Interceptor;
}

interface Entry {
  /** The intent is on record, or could not be written: then nothing was done that an outcome could tell of. */
  intent: boolean;
  refused: boolean;
  settled: boolean;
}

/**
 * Where the intent cannot be written and the trail refuses, the request is not made (`denied`, unsent). Where only the
 * outcome fails, the answer still reaches the caller: the effect is on record, and the trail refuses what comes next.
 */
export function auditLayers({ trail, clock, stages = createStages() }: AuditInterceptorOptions): AuditLayers {
  // By the one part of a request that stays the same whoever amends it.
  const entries = new WeakMap<RequestFacts, Entry>();

  const whole: Interceptor = (next) => (request) => {
    const entry: Entry = { intent: false, refused: false, settled: false };
    entries.set(request.facts, entry);
    const settle = (outcome: AuditFields): void => {
      entry.settled = true;
      if (entry.refused) return;
      try {
        // It ended before it came to a server: the name is unknown, its time was over, the host answered by itself.
        if (!entry.intent) trail.append('intent', intentOf(request, trail));
        trail.append('outcome', { request: request.seq, ...outcome, ...factsOf(request, clock.now()) });
      } catch {
        // Told to the trail's own `onError`, and written as a gap.
      }
    };
    return next(request).then(
      (response) => {
        settle({
          ok: true,
          ...(response['isError'] === true ? { isError: true } : {}),
          server: request.facts.server,
        });
        return response;
      },
      (error: unknown) => {
        settle({ ok: false, ...failureOf(error, request) });
        throw error;
      },
    );
  };

  const before: Interceptor = (next) => (request) => {
    const entry = entries.get(request.facts);
    // Whoever comes here behind the outcome, an interceptor of the host for example, comes too late.
    if (entry?.settled === true) return Promise.reject(request.cancellation.reason ?? over());
    try {
      // Asked of another server after all, or by the host's interceptor once more: the same operation.
      if (entry?.intent === true)
        trail.append('event', { event: 'asked again', ...intentOf(request, trail) });
      else trail.append('intent', intentOf(request, trail));
    } catch (error) {
      if (entry !== undefined) entry.refused = !entry.intent;
      return Promise.reject(TroupeError.from(error));
    }
    stages.audit += 1;
    if (entry !== undefined) entry.intent = true;
    return next(request);
  };

  return { whole, before };
}

function over(): TroupeError {
  return new TroupeError('cancelled', 'the operation was over before it came to a server');
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
function failureOf(error: unknown, { facts }: Request): AuditFields {
  return isTroupeError(error)
    ? { code: error.code, delivery: error.delivery, server: error.server ?? facts.server }
    : { code: 'internal', server: facts.server };
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
