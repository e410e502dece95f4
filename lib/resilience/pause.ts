import type { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import type { TroupeError } from '../core/errors.ts';

/** Waits `ms` milliseconds; rejects with the reason as soon as `cancellation` is cancelled. Leaves no timer and no listener. */
export type Pause = (ms: number, cancellation: Cancellation) => Promise<void>;

export function pauseBy(clock: Clock): Pause {
  return (ms, cancellation) =>
    new Promise((resolve, reject) => {
      let disarm: Disarm | undefined;
      const slot = cancellation.listen((reason) => {
        disarm?.();
        reject(reason);
      });
      if (cancellation.cancelled) return;
      disarm = clock.after(ms, () => {
        cancellation.ignore(slot);
        resolve();
      });
    });
}

/** The pauses of one engine: once it stops, nobody is left waiting in one, for there is nothing left to wait for. */
export class Pauses {
  readonly #pause: Pause;
  readonly #waiting = new Set<Cancellation>();
  #over: TroupeError | undefined;

  constructor(clock: Clock) {
    this.#pause = pauseBy(clock);
  }

  readonly pause: Pause = async (ms, cancellation) => {
    if (this.#over !== undefined) cancellation.cancel(this.#over);
    this.#waiting.add(cancellation);
    try {
      await this.#pause(ms, cancellation);
    } finally {
      this.#waiting.delete(cancellation);
    }
  };

  /** Who pauses, and who would from now on, ends with `reason`. */
  end(reason: TroupeError): void {
    this.#over = reason;
    for (const cancellation of this.#waiting) cancellation.cancel(reason);
  }
}
