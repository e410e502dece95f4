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
}: SettledDeps): (request: Request, error?: unknown) => unknown {
  return (request, error) => {
    request.cancellation.settled();
    const failure =
      error === undefined ? undefined : clean(TroupeError.from(error, { server: request.server }));
    if (bus.hasListeners('request.settled')) {
      stages.event += 1;
      bus.emit(new RequestSettled(request, failure, clock.wallTime(), clock.now() - request.startedAt));
    }
    return failure;
  };
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
