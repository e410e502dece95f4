import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { EventOf } from '../core/events.ts';
import { plain } from '../core/plain.ts';
import type { Request } from '../core/request.ts';
import type { Stages } from '../core/stages.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

export interface SettledDeps {
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly stages: Stages;
  /** The same without our secrets in it. */
  readonly clean: (error: TroupeError) => TroupeError;
  /** Why nothing of the server that the request is for stands now. */
  readonly down: (request: Request) => TroupeError | undefined;
}

/**
 * The end of an operation, once for each: lets go of the caller's signal, tells `request.settled` where somebody
 * listens, and gives back the error as the caller gets it.
 */
export function createSettled({
  bus,
  clock,
  stages,
  clean,
  down,
}: SettledDeps): (request: Request, error?: unknown) => unknown {
  return (request, error) => {
    request.cancellation.settled();
    const failure = error === undefined ? undefined : clean(explained(request, error, down));
    if (bus.hasListeners('request.settled')) {
      stages.event += 1;
      bus.emit(new RequestSettled(request, failure, clock.wallTime(), clock.now() - request.startedAt));
    }
    return failure;
  };
}

/** Time that went by while there was nobody to ask says less than why there was nobody. */
function explained(request: Request, error: unknown, down: SettledDeps['down']): TroupeError {
  const failure = TroupeError.from(error, { server: request.server });
  if (failure.code !== 'deadline_exceeded' || failure.delivery !== 'unsent' || failure.cause !== undefined)
    return failure;
  const why = reasonOf(request, down);
  if (why === undefined) return failure;
  const { server, attempt, retryAfterMs, data } = failure;
  const detail = `${failure.detail}; ${why.server ?? 'the server'} is not connected: ${why.detail}`;
  return new TroupeError('deadline_exceeded', detail, {
    server,
    attempt,
    delivery: 'unsent',
    retryAfterMs,
    data,
    cause: why,
  });
}

/** After a stop there is nobody left to ask. */
function reasonOf(request: Request, down: SettledDeps['down']): TroupeError | undefined {
  try {
    return down(request);
  } catch {
    return undefined;
  }
}

const RequestSettled = plain<
  new (
    request: Request,
    failure: TroupeError | undefined,
    at: number,
    elapsedMs: number,
  ) => EventOf<'request.settled'>
>(function (request, failure, at, elapsedMs) {
  const { facts } = request;
  this['type'] = 'request.settled';
  this['at'] = at;
  this['seq'] = request.seq;
  this['method'] = request.method;
  this['target'] = request.target;
  this['server'] = facts.server ?? request.server;
  this['connection'] = facts.connection;
  this['elapsedMs'] = elapsedMs;
  this['attempts'] = facts.attempts;
  this['ok'] = failure === undefined;
  this['error'] = failure;
  this['cache'] = facts.cache;
});
