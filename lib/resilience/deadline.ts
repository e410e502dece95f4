import type { Clock, DeadlineEntry } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';

export interface DeadlineOptions {
  readonly clock: Clock;
}

/** How long the layers below may take to settle a cancelled request before it is settled without them, milliseconds. */
export const SETTLE_GRACE_MS = 100;

/**
 * Ends the whole operation at `request.deadline`: the request is cancelled with `deadline_exceeded`, and whoever holds
 * it rejects with that reason and what is known about delivery. A layer that does not react to a cancellation, the
 * deadline's or the caller's, is waited for `SETTLE_GRACE_MS` and then left behind.
 *
 * One wheel entry per request, which is also its record; no timer, no AbortSignal.
 */
export function deadline({ clock }: DeadlineOptions): Interceptor {
  return (next) => (request) => {
    const call = new TimedCall(clock, request);
    const promise = new Promise<Response>(capture);
    call.resolve = capturedResolve;
    call.reject = capturedReject;
    call.start(next);
    return promise;
  };
}

// The functions of the promise under construction. Its executor runs synchronously, so one executor serves all.
let capturedResolve: (response: Response) => void;
let capturedReject: (error: unknown) => void;
const capture = (resolve: (response: Response) => void, reject: (error: unknown) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};

class TimedCall implements DeadlineEntry {
  readonly #clock: Clock;
  readonly #request: Request;
  #listenerSlot = -1;
  resolve!: (response: Response) => void;
  reject!: (error: unknown) => void;
  wheelSlot: Set<DeadlineEntry> | undefined = undefined;
  wheelAt = 0;

  constructor(clock: Clock, request: Request) {
    this.#clock = clock;
    this.#request = request;
  }

  start(next: Handler): void {
    const { cancellation, deadline } = this.#request;
    if (deadline <= this.#clock.now()) cancellation.cancel(this.#exceeded());
    if (cancellation.reason !== undefined) {
      this.reject(cancellation.reason);
      return;
    }
    this.#clock.deadline(deadline, this);
    this.#listenerSlot = cancellation.listen(() => this.#onCancelled());
    void this.#run(next);
  }

  async #run(next: Handler): Promise<void> {
    try {
      this.resolve(await next(this.#request));
    } catch (error) {
      this.reject(error);
    }
    this.#clock.cancelDeadline(this);
    this.#request.cancellation.ignore(this.#listenerSlot);
  }

  onDeadline(): void {
    const { cancellation } = this.#request;
    if (cancellation.reason === undefined) cancellation.cancel(this.#exceeded());
    else this.reject(withDelivery(cancellation.reason, this.#request));
  }

  /** The layers below have been told in the same moment; the entry now watches whether they settle. */
  #onCancelled(): void {
    this.#clock.cancelDeadline(this);
    this.#clock.deadline(this.#clock.now() + SETTLE_GRACE_MS, this);
  }

  #exceeded(): TroupeError {
    const { method, target, facts, startedAt } = this.#request;
    const server = this.#request.server ?? facts.server;
    const elapsedMs = Math.round(this.#clock.now() - startedAt);
    const what = target === undefined ? method : `${method} ${target}`;
    return withDelivery(
      new TroupeError('deadline_exceeded', `${what} did not finish in ${elapsedMs} ms`, { server }),
      this.#request,
    );
  }
}

/** What is known up here: whether any attempt may have left. The layer that rejects first knows better. */
export function withDelivery(reason: TroupeError, { facts }: Request): TroupeError {
  const mayHaveLeft = facts.attempts > (facts.unsent ?? 0);
  return mayHaveLeft && reason.delivery === 'unsent' ? reason.with({ delivery: 'sent' }) : reason;
}
