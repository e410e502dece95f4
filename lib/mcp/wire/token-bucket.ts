/** `rate` tokens per second up to `burst`; an infinite rate never empties it. */
export class TokenBucket {
  readonly rate: number;
  readonly burst: number;
  readonly #now: () => number;
  #tokens: number;
  #at: number;

  constructor(rate: number, burst: number, now: () => number) {
    this.rate = rate;
    this.burst = burst;
    this.#now = now;
    this.#tokens = rate === Infinity ? Infinity : burst;
    this.#at = now();
  }

  /** Asks the clock only when the last token is spent. */
  get empty(): boolean {
    if (this.#tokens >= 1) return false;
    this.#refill();
    return this.#tokens < 1;
  }

  take(): void {
    if (this.#tokens === Infinity) return;
    this.#refill();
    if (this.#tokens >= 1) this.#tokens -= 1;
  }

  #refill(): void {
    const now = this.#now();
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#at) * this.rate) / 1000);
    this.#at = now;
  }
}
