import type { Clock, DeadlineEntry } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';

export interface DeadlineOptions {
  readonly clock: Clock;
  /** Told once how each operation ended, before its caller is; gives back the error that the caller gets. */
  readonly onSettled?: ((request: Request, error?: unknown) => unknown) | undefined;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/** How long the layers below may take to settle a cancelled request before it is settled without them, milliseconds. */
export const SETTLE_GRACE_MS = 100;

/**
 * Ends the whole operation at `request.deadline`: the request is cancelled with `deadline_exceeded`, and whoever holds
 * it rejects with that reason and what is known about delivery. A layer that does not react to a cancellation, the
 * deadline's or the caller's, is waited for `SETTLE_GRACE_MS` and then left behind.
 *
 * One wheel entry per request, which is also its record and its listener; no timer, no AbortSignal, no async frame.
 */
export function deadline({
  clock,
  onSettled = unchanged,
  stages = createStages(),
}: DeadlineOptions): Interceptor {
  return (next) => (request) => {
    stages.deadline += 1;
    const promise = new Promise<Response>(capture);
    const call = new TimedCall(clock, request, onSettled, capturedResolve, capturedReject);
    // They would hold the response until the next call.
    capturedResolve = capturedReject = ignore;
    call.start(next);
    return promise;
  };
}

const unchanged = (_request: Request, error?: unknown): unknown => error;

// The functions of the promise under construction. Its executor runs synchronously, so one executor serves all.
const ignore = (): void => {};
let capturedResolve: (response: Response) => void = ignore;
let capturedReject: (error: unknown) => void = ignore;
const capture = (resolve: (response: Response) => void, reject: (error: unknown) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};

class TimedCall implements DeadlineEntry {
  readonly #clock: Clock;
  readonly #request: Request;
  readonly #onSettled: (request: Request, error?: unknown) => unknown;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: unknown) => void;
  #listenerSlot = -1;
  #settled = false;
  wheelSlot: DeadlineEntry['wheelSlot'] = undefined;
  wheelBefore: DeadlineEntry | undefined = undefined;
  wheelAfter: DeadlineEntry | undefined = undefined;

  constructor(
    clock: Clock,
    request: Request,
    onSettled: (request: Request, error?: unknown) => unknown,
    resolve: (response: Response) => void,
    reject: (error: unknown) => void,
  ) {
    this.#clock = clock;
    this.#request = request;
    this.#onSettled = onSettled;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(next: Handler): void {
    const { cancellation, deadline, startedAt } = this.#request;
    // It has just begun: the clock need not be asked again.
    if (deadline <= startedAt) cancellation.cancel(this.#exceeded());
    if (cancellation.reason !== undefined) {
      this.#fail(cancellation.reason);
      return;
    }
    this.#clock.deadline(deadline, this);
    this.#listenerSlot = cancellation.listen(this);
    let answer: Promise<Response>;
    try {
      answer = next(this.#request);
    } catch (error) {
      this.#fail(error);
      return;
    }
    answer.then(
      (response) => this.#succeed(response),
      (error: unknown) => this.#fail(error),
    );
  }

  #succeed(response: Response): void {
    if (!this.#end()) return;
    try {
      this.#onSettled(this.#request);
      this.#resolve(response);
    } catch (defect) {
      this.#reject(TroupeError.from(defect));
    }
  }

  /** A defect in the telling must not leave the caller without an end. */
  #fail(error: unknown): void {
    if (!this.#end()) return;
    try {
      this.#reject(this.#onSettled(this.#request, error));
    } catch (defect) {
      this.#reject(TroupeError.from(defect));
    }
  }

  /** False when it had ended before. */
  #end(): boolean {
    this.#clock.cancelDeadline(this);
    if (this.#settled) return false;
    this.#settled = true;
    this.#request.cancellation.ignore(this.#listenerSlot);
    return true;
  }

  onDeadline(): void {
    const { cancellation } = this.#request;
    if (cancellation.reason === undefined) cancellation.cancel(this.#exceeded());
    else this.#fail(withDelivery(cancellation.reason, this.#request));
  }

  /** The layers below are told in the same moment; the entry now watches whether they settle. */
  onCancel(): void {
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
