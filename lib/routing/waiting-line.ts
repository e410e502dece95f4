import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';

/** One request in the line. */
interface Place {
  readonly request: Request;
  readonly resolve: (answer: Promise<Response>) => void;
  readonly reject: (error: unknown) => void;
  /** Of its cancellation. */
  slot: number;
  gone: boolean;
}

export interface LineOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Hands a request over, returns undefined while it must wait, throws when waiting is in vain. */
  readonly attempt: (request: Request) => Promise<Response> | undefined;
  /** Requests of which one must wait as long as the other. */
  readonly alike: (request: Request) => boolean;
}

/**
 * Requests that wait for a slot, first come, first served; one that can only go to a busy replica lets the others pass. It
 * is bounded by whoever joins, and has no timer: the deadline of a request ends its wait through its cancellation.
 */
export class WaitingLine {
  readonly #options: LineOptions;
  #places: Place[] = [];
  #length = 0;
  #advancing = false;
  #again = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#length;
  }

  /** `gaveUp` names the error of a request that was cancelled while it waited. */
  join(request: Request, gaveUp: (reason: TroupeError) => TroupeError): Promise<Response> {
    return new Promise<Response>((resolve, reject) => {
      const place: Place = { request, resolve, reject, slot: -1, gone: false };
      this.#places.push(place);
      this.#length++;
      place.slot = request.cancellation.listen((reason) => {
        if (!this.#leave(place)) return;
        reject(gaveUp(reason));
        this.#compact();
      });
    });
  }

  /** Hands over who can go now. Does nothing and costs nothing while nobody waits. */
  advance(): void {
    if (this.#length === 0) return;
    // A handler that fails at once settles within `attempt` and comes back here: the loop goes round, the stack does not grow.
    this.#again = true;
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#pass();
      }
    } finally {
      this.#advancing = false;
      this.#compact();
    }
  }

  rejectAll(error: TroupeError): void {
    for (const place of this.#places) {
      if (this.#leave(place)) place.reject(error.with({ attempt: place.request.attempt }));
    }
    this.#compact();
  }

  #pass(): void {
    const { clock, attempt, alike } = this.#options;
    let alikeMustWait = false;
    for (const place of this.#places) {
      const { request } = place;
      if (place.gone) continue;
      const isAlike = alike(request);
      if (isAlike && alikeMustWait) continue;
      if (clock.now() >= request.deadline) {
        // Its slot would be wasted: the deadline layer is about to say the same.
        if (this.#leave(place)) place.reject(expired(request));
        continue;
      }
      try {
        const answer = attempt(request);
        if (answer === undefined) alikeMustWait ||= isAlike;
        else if (this.#leave(place)) place.resolve(answer);
      } catch (error) {
        if (this.#leave(place)) place.reject(error);
      }
    }
  }

  #leave(place: Place): boolean {
    if (place.gone) return false;
    place.gone = true;
    this.#length--;
    place.request.cancellation.ignore(place.slot);
    return true;
  }

  /** Drops the places of those that went, once they are half of the line. */
  #compact(): void {
    if (this.#advancing || this.#places.length <= 2 * this.#length) return;
    this.#places = this.#length === 0 ? [] : this.#places.filter(({ gone }) => !gone);
  }
}

function expired(request: Request): TroupeError {
  return new TroupeError('deadline_exceeded', 'the deadline passed while it waited for a slot', {
    server: request.server,
    attempt: request.attempt,
  });
}
