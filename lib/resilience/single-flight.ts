import { Cancellation } from '../core/cancellation.ts';
import type { Clock } from '../core/clock.ts';
import { type ErrorCode, type TroupeError, isTroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { type Progress, type Request, amend } from '../core/request.ts';
import { withDelivery } from './deadline.ts';
import { requestKey } from './request-key.ts';

/**
 * Identical reads that run at the same time are one. Each caller keeps its own deadline and may leave alone; the last
 * one to leave cancels the call. A failure is the failure of all; a caller who gives up is nobody's but their own.
 */
export function singleFlight({ clock }: { readonly clock: Clock }): Interceptor {
  /** By what is asked for, roughly: most reads are alone with theirs and never need the exact key. */
  const flights = new Map<string, Flight[]>();

  return (next) => {
    const ask: Handler = (request) => {
      // A refresh wants an answer to a question asked now; joining an older one would not be that.
      if (request.cache !== 'use' || (request.operation !== 'read' && request.operation !== 'read-only')) {
        return next(request);
      }
      const about = request.target ?? request.method;
      const inTheAir = flights.get(about);
      const joined = inTheAir === undefined ? undefined : inTheAir.find((flight) => flight.takes(request));
      if (joined !== undefined) {
        request.facts.cache = 'shared';
        return joined.join(request);
      }
      const flight = new Flight(request, about, flights, ask, clock);
      if (inTheAir === undefined) flights.set(about, [flight]);
      else inTheAir.push(flight);
      const outcome = flight.join(request);
      void flight.start(next);
      return outcome;
    };
    return ask;
  };
}

/** Failures after which a call with more time would have been made again. */
const REPEATABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'circuit_open',
  'connection_lost',
  'deadline_exceeded',
  'queue_full',
  'rate_limited',
  'unavailable',
]);

/** A failure this near to the deadline, milliseconds, may be one for lack of time: few waits between two attempts are longer, unless a server asks for it. */
const NEAR_MS = 1_000;

/**
 * Who has so much more time than the first caller, as a share of that one's, asks for another call. Callers of the same
 * patience, one a moment after the other, differ by less: they are not to ask one by one what has just failed.
 */
const MORE_TIME = 0.25;

interface Passenger {
  readonly request: Request;
  readonly resolve: (response: Response | Promise<Response>) => void;
  readonly reject: (error: unknown) => void;
  slot: number;
}

class Flight {
  #passengers: Passenger[] = [];
  readonly #cancellation = new Cancellation();
  readonly #request: Request;
  readonly #about: string;
  readonly #flights: Map<string, Flight[]>;
  readonly #ask: Handler;
  readonly #clock: Clock;
  #key: string | undefined;

  constructor(first: Request, about: string, flights: Map<string, Flight[]>, ask: Handler, clock: Clock) {
    this.#clock = clock;
    this.#about = about;
    this.#flights = flights;
    this.#ask = ask;
    const { onProgress } = first;
    this.#request = amend(first, {
      // Passengers bring their own deadlines, each ends with theirs; that of the first bounds what is planned below.
      cancellation: this.#cancellation,
      onProgress: onProgress === undefined ? undefined : (progress) => this.#tell(progress),
    });
  }

  /** Whether the request asks the same, for the same. */
  takes(request: Request): boolean {
    const mine = this.#request;
    return (
      request.method === mine.method &&
      request.server === mine.server &&
      request.principal?.id === mine.principal?.id &&
      // One name may be somebody else in another tenant, with other credentials.
      request.principal?.tenant === mine.principal?.tenant &&
      request.affinity === mine.affinity &&
      // Nobody asked the server for progress where the first caller did not want any.
      (request.onProgress === undefined) === (mine.onProgress === undefined) &&
      this.#asks(requestKey(request))
    );
  }

  #asks(key: string | undefined): boolean {
    this.#key ??= requestKey(this.#request);
    return key !== undefined && key === this.#key;
  }

  join(request: Request): Promise<Response> {
    if (request.cancellation.reason !== undefined) return Promise.reject(request.cancellation.reason);
    return new Promise((resolve, reject) => {
      const passenger: Passenger = { request, resolve, reject, slot: -1 };
      this.#passengers.push(passenger);
      passenger.slot = request.cancellation.listen((reason) => this.#leave(passenger, reason));
    });
  }

  async start(next: Handler): Promise<void> {
    try {
      if (this.#passengers.length === 0) return;
      const response = await next(this.#request);
      const passengers = this.#disembark();
      // Each has a result of its own: what one does to it is nobody else's business.
      for (let i = 0; i < passengers.length; i++)
        passengers[i]?.resolve(i === 0 ? response : copyOf(response));
    } catch (error) {
      this.#landed();
      // The call had the time of its first passenger.
      const enough = this.#wasShort(error) ? this.#muchLater() : Infinity;
      for (const { request, resolve, reject } of this.#disembark()) {
        if (request.deadline >= enough) resolve(this.#ask(request));
        else reject(error);
      }
    } finally {
      this.#landed();
    }
  }

  #wasShort(error: unknown): boolean {
    if (!isTroupeError(error) || !REPEATABLE.has(error.code)) return false;
    return this.#clock.now() + Math.max(error.retryAfterMs ?? 0, NEAR_MS) >= this.#request.deadline;
  }

  #muchLater(): number {
    const { deadline, startedAt } = this.#request;
    return deadline + (deadline - startedAt) * MORE_TIME;
  }

  #landed(): void {
    const inTheAir = this.#flights.get(this.#about);
    const place = inTheAir?.indexOf(this) ?? -1;
    if (inTheAir === undefined || place < 0) return;
    if (inTheAir.length === 1) this.#flights.delete(this.#about);
    else inTheAir.splice(place, 1);
  }

  #disembark(): Passenger[] {
    const all = this.#passengers;
    this.#passengers = [];
    for (const passenger of all) {
      passenger.request.cancellation.ignore(passenger.slot);
      this.#tellFacts(passenger);
    }
    return all;
  }

  #leave(passenger: Passenger, reason: TroupeError): void {
    this.#passengers = this.#passengers.filter((other) => other !== passenger);
    this.#tellFacts(passenger);
    passenger.reject(withDelivery(reason, this.#request));
    if (this.#passengers.length > 0) return;
    this.#landed();
    this.#cancellation.cancel(reason);
  }

  /** The facts of the call are gathered in those of the first caller. */
  #tellFacts({ request }: Passenger): void {
    const { facts } = this.#request;
    if (request.facts === facts) return;
    const { attempts, rounds, server, connection } = facts;
    Object.assign(request.facts, { attempts, rounds, server, connection });
  }

  #tell(progress: Progress): void {
    let fault: { readonly error: unknown } | undefined;
    for (const { request } of this.#passengers) {
      try {
        request.onProgress?.(progress);
      } catch (error) {
        // One who stumbles keeps it from nobody else.
        fault ??= { error };
      }
    }
    if (fault !== undefined) throw fault.error;
  }
}

function copyOf(response: Response): Response {
  try {
    return structuredClone(response);
  } catch {
    // An in-process server sent something that is not JSON; the wire could not have carried it.
    return response;
  }
}
