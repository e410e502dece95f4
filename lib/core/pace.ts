/** Longest stretch of work at one go before other work of the process gets its turn, milliseconds. */
export const SLICE_MS = 8;

/**
 * For work on very many things that never waits by itself: `if (pace.spent) await pace.nextTurn();` between two of them
 * keeps timers, sockets and the calls of others going.
 */
export class Pace {
  readonly #now: () => number;
  readonly #sliceMs: number;
  #since: number;

  /** @param now monotonic milliseconds */
  constructor(now: () => number, sliceMs = SLICE_MS) {
    this.#now = now;
    this.#sliceMs = sliceMs;
    this.#since = now();
  }

  get spent(): boolean {
    return this.#now() - this.#since >= this.#sliceMs;
  }

  /** One turn of the event loop later, and a new slice. */
  async nextTurn(): Promise<void> {
    await new Promise((resolve) => void setImmediate(resolve));
    this.#since = this.#now();
  }
}
