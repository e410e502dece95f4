import type { Clock } from '../core/clock.ts';

/** What keeps retries and hedges from becoming the load that keeps a server down. */
export interface RetryBudget {
  /** One request was made: earns `ratio` of an extra attempt. */
  deposit(): void;
  /** Takes one extra attempt; false when there is none left. */
  withdraw(): boolean;
  /** Extra attempts at hand. */
  readonly balance: number;
}

export interface RetryBudgetOptions {
  readonly clock: Clock;
  /** Extra attempts per request, 0 … 1. The engine gives 0.1 (Google SRE book: 10 % per client). */
  readonly ratio: number;
  /** Extra attempts per second that need no requests before them. The engine gives 1; hedges have 0. */
  readonly minPerSecond: number;
  /** How long an earned attempt is kept, milliseconds. The engine gives 10 000 (Finagle's `RetryBudget`). */
  readonly windowMs: number;
}

/** Parts of the window; what was earned expires part by part (Finagle's `WindowedAdder` has 10). */
const BUCKETS = 10;

/**
 * A token bucket that leaks by age, in the shape of Finagle's `RetryBudget`: deposits and withdrawals of the last
 * `windowMs` are summed, and `minPerSecond × window` is there in reserve, so that a quiet server may be retried too.
 */
export function createRetryBudget(options: RetryBudgetOptions): RetryBudget {
  return new WindowedBudget(options);
}

class WindowedBudget implements RetryBudget {
  readonly #clock: Clock;
  readonly #ratio: number;
  readonly #reserve: number;
  readonly #bucketMs: number;
  readonly #buckets = new Float64Array(BUCKETS);
  #sum = 0;
  #current = 0;
  #currentSince: number;

  constructor({ clock, ratio, minPerSecond, windowMs }: RetryBudgetOptions) {
    this.#clock = clock;
    this.#ratio = ratio;
    this.#reserve = (minPerSecond * windowMs) / 1000;
    this.#bucketMs = windowMs / BUCKETS;
    this.#currentSince = clock.now();
  }

  get balance(): number {
    this.#expire();
    return Math.max(0, this.#sum + this.#reserve);
  }

  deposit(): void {
    this.#expire();
    this.#add(this.#ratio);
  }

  withdraw(): boolean {
    // Ten deposits of 0.1 are not quite 1.
    if (this.balance < 1 - 1e-9) return false;
    this.#add(-1);
    return true;
  }

  #add(amount: number): void {
    this.#buckets[this.#current] = (this.#buckets[this.#current] ?? 0) + amount;
    this.#sum += amount;
  }

  #expire(): void {
    const elapsed = this.#clock.now() - this.#currentSince;
    if (elapsed < this.#bucketMs) return;
    const steps = Math.floor(elapsed / this.#bucketMs);
    this.#currentSince += steps * this.#bucketMs;
    for (let i = 0; i < Math.min(steps, BUCKETS); i++) {
      this.#current = (this.#current + 1) % BUCKETS;
      this.#buckets[this.#current] = 0;
    }
    // Summed anew now and then, so that rounding never adds up.
    let sum = 0;
    for (const amount of this.#buckets) sum += amount;
    this.#sum = sum;
  }
}
