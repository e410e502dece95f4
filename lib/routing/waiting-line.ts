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
  /** How long a request takes once it is handed over, milliseconds: who has less time left has no chance any more. */
  readonly serviceMs: () => number;
}

/**
 * Requests that wait for a slot, first come, first served; one that can only go to a busy replica lets the others pass. It
 * is bounded by whoever joins, and has no timer: the deadline of a request ends its wait through its cancellation.
 *
 * Once somebody has waited in vain there is more to do than can be done in time, and in order of arrival everybody would
 * be served too late. Until the line is empty again the newest goes first, and whoever cannot be answered in time goes
 * last ("Fail at Scale": adaptive LIFO; `routing.md` §0.4).
 */
export class WaitingLine {
  readonly #options: LineOptions;
  #places: Place[] = [];
  #length = 0;
  #advancing = false;
  #again = false;
  #overloaded = false;

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
        if (reason.code === 'deadline_exceeded') this.#overloaded = true;
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

  /** Makes room for one: the oldest of those that cannot be answered in time leaves with the error. False: there is none. */
  shed(error: () => TroupeError): boolean {
    const now = this.#options.clock.now();
    const serviceMs = this.#options.serviceMs();
    for (const place of this.#places) {
      if (place.gone || !isHopeless(place, now, serviceMs)) continue;
      this.#overloaded = true;
      if (this.#leave(place)) place.reject(error().with({ attempt: place.request.attempt }));
      this.#compact();
      return true;
    }
    return false;
  }

  rejectAll(error: TroupeError): void {
    for (const place of this.#places) {
      if (this.#leave(place)) place.reject(error.with({ attempt: place.request.attempt }));
    }
    this.#compact();
  }

  #pass(): void {
    const now = this.#options.clock.now();
    const serviceMs = this.#options.serviceMs();
    const places = this.#places;
    // Who joins meanwhile is looked at in the next pass.
    const { length } = places;
    const newestFirst = this.#overloaded;
    let alikeMustWait = false;
    let hopeless = false;
    for (let i = 0; i < length; i++) {
      const place = places[newestFirst ? length - 1 - i : i]!;
      if (place.gone) continue;
      if (isHopeless(place, now, serviceMs)) hopeless = true;
      else alikeMustWait = this.#offer(place, now, alikeMustWait) || alikeMustWait;
    }
    if (!hopeless) return;
    for (let i = length - 1; i >= 0; i--) {
      const place = places[i]!;
      if (!place.gone && isHopeless(place, now, serviceMs))
        alikeMustWait = this.#offer(place, now, alikeMustWait) || alikeMustWait;
    }
  }

  /** True where it, and with it all that are like it, must go on waiting. */
  #offer(place: Place, now: number, alikeMustWait: boolean): boolean {
    const { request } = place;
    const isAlike = this.#options.alike(request);
    if (isAlike && alikeMustWait) return true;
    if (now >= request.deadline) {
      // Its slot would be wasted: the deadline layer is about to say the same.
      this.#overloaded = true;
      if (this.#leave(place)) place.reject(expired(request));
      return false;
    }
    try {
      const answer = this.#options.attempt(request);
      if (answer === undefined) return isAlike;
      if (this.#leave(place)) place.resolve(answer);
    } catch (error) {
      if (this.#leave(place)) place.reject(error);
    }
    return false;
  }

  #leave(place: Place): boolean {
    if (place.gone) return false;
    place.gone = true;
    this.#length--;
    if (this.#length === 0) this.#overloaded = false;
    place.request.cancellation.ignore(place.slot);
    return true;
  }

  /** Drops the places of those that went, once they are half of the line. */
  #compact(): void {
    if (this.#advancing || this.#places.length <= 2 * this.#length) return;
    this.#places = this.#length === 0 ? [] : this.#places.filter(({ gone }) => !gone);
  }
}

function isHopeless({ request }: Place, now: number, serviceMs: number): boolean {
  return request.deadline - now < serviceMs;
}

function expired(request: Request): TroupeError {
  return new TroupeError('deadline_exceeded', 'the deadline passed while it waited for a slot', {
    server: request.server,
    attempt: request.attempt,
  });
}
