import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
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
      const { facts } = request;
      bus.emit({
        type: 'request.settled',
        at: clock.wallTime(),
        seq: request.seq,
        method: request.method,
        target: request.target,
        server: facts.server ?? request.server,
        connection: facts.connection,
        elapsedMs: clock.now() - request.startedAt,
        attempts: facts.attempts,
        ok: failure === undefined,
        error: failure,
        cache: facts.cache,
      });
    }
    return failure;
  };
}
