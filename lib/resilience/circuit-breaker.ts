import { EventEmitter } from 'node:events';
import Opossum from 'opossum';
import { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { BreakerState } from '../core/events.ts';
import { type Outcome, isCountable, isFailure } from '../core/outcome.ts';
import type { Random } from '../core/ports.ts';
import { createStages, type Stages } from '../core/stages.ts';

export interface BreakerOptions {
  /** Settled outcomes in the window before a share of failures means anything. The engine gives 5. */
  readonly minSamples: number;
  /** Share of failures that opens it, 0 … 1. The engine gives 0.5 (opossum). */
  readonly failureRatio: number;
  /** Failures in a row that open it, whatever the share. The engine gives 5 (Envoy, Finagle). */
  readonly consecutive: number;
  /** Length of the window, milliseconds. The engine gives 10 000 (opossum). */
  readonly windowMs: number;
  /** How long it is open the first time, milliseconds; the engine gives 5 000 (Finagle) … */
  readonly openMs: number;
  /** … multiplied by this (2) each time the probe fails or it opens again soon … */
  readonly openFactor: number;
  /** … up to this (60 000). Closed for this long, the next opening counts as the first again. */
  readonly openMaxMs: number;
  /** How long the probe may take, milliseconds. The engine gives 5 000 (`reliability.md` §8). */
  readonly probeTimeoutMs: number;
}

export interface CircuitBreakerInit {
  readonly clock: Clock;
  /** Spreads the probes of many breakers: an open time is up to 10 % longer than computed, never shorter. */
  readonly random: Random;
  readonly options: BreakerOptions;
  /**
   * Asks the replica whether it serves again: one cheap read made by the engine, never a user's request. At most one
   * runs at a time; a rejection, and silence beyond `probeTimeoutMs`, mean no. To be ended when `cancellation` is.
   */
  readonly probe: (cancellation: Cancellation) => Promise<unknown>;
  readonly onChange?: ((from: BreakerState, to: BreakerState) => void) | undefined;
  /** What an earlier breaker of the replica knew: this one begins open, for the rest of that time. */
  readonly resume?: HeldBreaker | undefined;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/** A breaker that was not closed when its session was put aside: the replica has not become better by that. */
export interface HeldBreaker {
  readonly openUntil: number;
  readonly openings: number;
}

/** Whether one session's replica is fit to be asked. A gate that is read, fed with outcomes after the fact. */
export interface CircuitBreaker {
  readonly state: BreakerState;
  /** Closed. Where false, the candidate is suspect: asked only when nothing else is left. */
  readonly admits: boolean;
  /** Taken when a request starts and given back with its outcome: what began before the last change says nothing now. */
  readonly generation: number;
  /** Milliseconds until the next probe; `undefined` unless open. */
  readonly retryAfterMs: number | undefined;
  /** Settled outcomes in the window, and the failures among them. */
  readonly samples: { readonly settled: number; readonly failed: number };
  /** `now`: on the engine's clock, where the caller has just read it. */
  report(outcome: Outcome, generation: number, now?: number): void;
  /** For the breaker of the next session, where this one ends for no fault of the replica; undefined while closed. */
  readonly held: HeldBreaker | undefined;
  /** Ends timer and probe; later reports do nothing. Idempotent. */
  dispose(): void;
}

export function createCircuitBreaker(init: CircuitBreakerInit): CircuitBreaker {
  return new ReportedBreaker(init);
}

const BUCKETS = 10;
const OPEN_JITTER = 0.1;
/** opossum's own timer is never what ends the open state; it is cleared as soon as it is set. */
const NEVER_MS = 2_147_483_647;
/** One error for all failures: opossum wants one, nobody reads it, a fresh stack costs microseconds. */
const FAILED = new Error('reported failure');

const NO_SUCCESSES: number[] = [];

const nothing = (): void => {};

function addSuccesses(bucket: Opossum.Bucket | undefined, count: number): void {
  if (bucket === undefined) return;
  bucket.fires += count;
  bucket.successes += count;
}

/** What opossum runs: the outcome is known already. It throws at once, so that an opening is visible at once. */
const settled = (failed: boolean): Promise<void> => {
  if (failed) throw FAILED;
  return Promise.resolve();
};

/**
 * Around opossum, which keeps the window and decides on opening and closing; time, probing and generations are ours.
 * Why not plainly `fire(request)` (`routing.md` §2.8): its rate counts requests still in flight, its half-open trial is
 * a user's request that may hang for ever, late results move the state, refusals count as failures, neutral outcomes as
 * successes, and the window survives closing. So it hears only settled and countable outcomes of this generation, and
 * each state has an instance of its own.
 */
class ReportedBreaker implements CircuitBreaker {
  readonly #init: CircuitBreakerInit;
  readonly #stages: Stages;
  readonly #bucketMs: number;
  /** While closed there is none before the first failure: until then a count of successes is all there is to keep. */
  #opossum: Opossum<[boolean], void> | undefined;
  #window: EventEmitter | undefined;
  /** Successes of the buckets before the present one, the latest first; opossum gets them when it is made. */
  #earlier: number[] = NO_SUCCESSES;
  #bucketSince: number;
  #successes = 0;
  #failuresInARow = 0;

  #state: BreakerState = 'closed';
  #generation = 1;
  #openings = 0;
  #closedAt = -Infinity;
  #openUntil = 0;
  #disarm: Disarm = nothing;
  #probing: Cancellation | undefined;
  #disposed = false;

  constructor(init: CircuitBreakerInit) {
    this.#init = init;
    this.#stages = init.stages ?? createStages();
    this.#bucketMs = init.options.windowMs / BUCKETS;
    this.#bucketSince = init.clock.now();
    if (init.resume !== undefined) this.#resume(init.resume);
  }

  get held(): HeldBreaker | undefined {
    return this.#state === 'closed' ? undefined : { openUntil: this.#openUntil, openings: this.#openings };
  }

  get state(): BreakerState {
    return this.#state;
  }

  get admits(): boolean {
    return this.#state === 'closed';
  }

  get generation(): number {
    return this.#generation;
  }

  get retryAfterMs(): number | undefined {
    return this.#state === 'open' ? Math.max(0, this.#openUntil - this.#init.clock.now()) : undefined;
  }

  get samples(): { settled: number; failed: number } {
    if (this.#state !== 'closed' || this.#disposed) return { settled: 0, failed: 0 };
    this.#rotate();
    const earlier = this.#earlier.reduce((sum, count) => sum + count, this.#successes);
    const { fires, failures } = this.#opossum?.stats ?? { fires: 0, failures: 0 };
    return { settled: fires + earlier, failed: failures };
  }

  report(outcome: Outcome, generation: number, now?: number): void {
    if (generation !== this.#generation || this.#state !== 'closed' || this.#disposed) return;
    if (!isCountable(outcome)) return;
    this.#stages.breaker += 1;
    this.#rotate(now);
    if (isFailure(outcome)) this.#failed();
    else {
      // Only a failure can open it. Successes thin out the rate, so counting them can wait until the next one.
      this.#successes++;
      this.#failuresInARow = 0;
    }
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#disarm();
    this.#opossum?.shutdown();
    this.#probing?.cancel(new TroupeError('stopped', 'the circuit breaker was disposed'));
    this.#probing = undefined;
  }

  #resume({ openUntil, openings }: HeldBreaker): void {
    const { clock } = this.#init;
    this.#openings = openings;
    this.#openUntil = openUntil;
    this.#state = 'open';
    // Where the time is over meanwhile, a probe decides and not a request.
    this.#disarm = clock.after(Math.max(0, openUntil - clock.now()), () => this.#onHalfOpen(), {
      unref: true,
    });
  }

  #failed(): void {
    this.#failuresInARow++;
    const opossum = (this.#opossum ??= this.#instance('closed'));
    this.#countSuccesses(opossum);
    opossum.fire(true).catch(nothing);
    // It keeps a latency per failure although percentiles are off.
    const bucket = opossum.status.window[0];
    if (bucket !== undefined) bucket.latencyTimes.length = 0;
    if (this.#state === 'closed' && this.#failuresInARow >= this.#init.options.consecutive) opossum.open();
  }

  #countSuccesses({ status }: Opossum<[boolean], void>): void {
    if (this.#successes > 0) addSuccesses(status.window[0], this.#successes);
    this.#successes = 0;
    this.#earlier.forEach((count, i) => addSuccesses(status.window[i + 1], count));
    this.#earlier = NO_SUCCESSES;
  }

  /** Moves the window on by the time that has passed since it was last looked at; so it needs no interval. */
  #rotate(now = this.#init.clock.now()): void {
    const elapsed = now - this.#bucketSince;
    if (elapsed < this.#bucketMs) return;
    const opossum = this.#opossum;
    if (opossum !== undefined) this.#countSuccesses(opossum);
    const steps = Math.floor(elapsed / this.#bucketMs);
    this.#bucketSince += steps * this.#bucketMs;
    for (let i = 0; i < Math.min(steps, BUCKETS); i++) {
      if (opossum !== undefined) this.#window?.emit('rotate');
      else {
        this.#earlier = [this.#successes, ...this.#earlier.slice(0, BUCKETS - 2)];
        this.#successes = 0;
      }
    }
  }

  #instance(state: 'closed' | 'half-open'): Opossum<[boolean], void> {
    const { minSamples, failureRatio, windowMs } = this.#init.options;
    this.#window = new EventEmitter();
    const options: Opossum.Options<[boolean]> & { state?: { closed: boolean; halfOpen: boolean } } = {
      name: 'replica',
      timeout: false,
      volumeThreshold: minSamples,
      // It opens above the threshold; we say "at".
      errorThresholdPercentage: failureRatio * 100 - 1e-9,
      rollingCountTimeout: windowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#window,
      resetTimeout: NEVER_MS,
      ...(state === 'half-open' && { state: { closed: false, halfOpen: true } }),
    };
    const opossum = new Opossum<[boolean], void>(settled, options);
    opossum.on('open', () => this.#onOpen());
    opossum.on('close', () => this.#onClose());
    return opossum;
  }

  /** Nothing of what was before counts. */
  #begin(): void {
    this.#bucketSince = this.#init.clock.now();
    this.#successes = 0;
    this.#earlier = NO_SUCCESSES;
    this.#failuresInARow = 0;
  }

  #onOpen(): void {
    const { clock, random, options } = this.#init;
    // Takes its timer away; the next state gets a new instance.
    this.#opossum?.shutdown();
    if (this.#state === 'closed' && clock.now() - this.#closedAt >= options.openMaxMs) this.#openings = 0;
    const openMs =
      Math.min(options.openMaxMs, options.openMs * options.openFactor ** this.#openings) *
      (1 + OPEN_JITTER * random());
    this.#openings++;
    this.#openUntil = clock.now() + openMs;
    this.#disarm = clock.after(openMs, () => this.#onHalfOpen(), { unref: true });
    this.#enter('open');
  }

  #onHalfOpen(): void {
    this.#opossum = this.#instance('half-open');
    this.#begin();
    this.#enter('half-open');
    void this.#probe();
  }

  #onClose(): void {
    this.#opossum?.shutdown();
    this.#opossum = undefined;
    this.#begin();
    this.#closedAt = this.#init.clock.now();
    this.#enter('closed');
  }

  #enter(to: BreakerState): void {
    const from = this.#state;
    this.#state = to;
    this.#generation++;
    this.#init.onChange?.(from, to);
  }

  async #probe(): Promise<void> {
    const { clock, probe, options } = this.#init;
    const cancellation = new Cancellation();
    this.#probing = cancellation;
    const settle = (failed: boolean): void => {
      if (this.#probing !== cancellation) return;
      this.#probing = undefined;
      this.#disarm();
      this.#opossum?.fire(failed).catch(nothing);
    };
    this.#disarm = clock.after(
      options.probeTimeoutMs,
      () => {
        settle(true);
        cancellation.cancel(
          new TroupeError('deadline_exceeded', `the probe did not answer in ${options.probeTimeoutMs} ms`),
        );
      },
      { unref: true },
    );
    try {
      await probe(cancellation);
      settle(false);
    } catch {
      settle(true);
    }
  }
}
