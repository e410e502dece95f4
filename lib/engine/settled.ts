import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { EventOf } from '../core/events.ts';
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

/** A class for the reason that `amend` tells. */
class RequestSettled implements EventOf<'request.settled'> {
  readonly type = 'request.settled';
  readonly at: number;
  readonly seq: number;
  readonly method: string;
  readonly target: string | undefined;
  readonly server: string | undefined;
  readonly connection: string | undefined;
  readonly elapsedMs: number;
  readonly attempts: number;
  readonly ok: boolean;
  readonly error: TroupeError | undefined;
  readonly cache: Request['facts']['cache'];

  constructor(request: Request, failure: TroupeError | undefined, at: number, elapsedMs: number) {
    const { facts } = request;
    this.at = at;
    this.seq = request.seq;
    this.method = request.method;
    this.target = request.target;
    this.server = facts.server ?? request.server;
    this.connection = facts.connection;
    this.elapsedMs = elapsedMs;
    this.attempts = facts.attempts;
    this.ok = failure === undefined;
    this.error = failure;
    this.cache = facts.cache;
  }
}
