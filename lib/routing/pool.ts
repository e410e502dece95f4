import type { Availability } from '../core/availability.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError, type ErrorCode } from '../core/errors.ts';
import type { ConnectionState } from '../core/events.ts';
import type { Handler, Response } from '../core/interceptor.ts';
import { type Outcome, SUPERSEDED, outcomeOfError, outcomeOfResult } from '../core/outcome.ts';
import type { Random } from '../core/ports.ts';
import { amend, type Request } from '../core/request.ts';
import type { Stages } from '../core/stages.ts';
import {
  Affinity,
  type AffineReplica,
  type AffinityMove,
  type AffinityOptions,
  type Placement,
} from './affinity.ts';
import type { Lease, ReplicaLoad } from './load-meter.ts';
import { type Ejection, type OutlierOptions, createOutlierDetector } from './outlier.ts';
import { type Picker, type PickerReplica, type PickerSnapshot, createPicker } from './picker.ts';
import { withTiers } from './strategies/with-tiers.ts';
import type { RoutingStrategy } from './strategy.ts';
import type { TierOptions } from './tiers.ts';
import { WaitingLine } from './waiting-line.ts';

/** One replica that can be asked; everything but the id is read when it is needed, so members may be getters. */
export interface Candidate extends PickerReplica, AffineReplica {
  /** Why it takes nothing although it is connected (its breaker is open); the error where every candidate is blocked or down. */
  readonly blocked?: TroupeError | undefined;
  /** Told in `unavailable`: what it is doing instead, and why it is down. */
  readonly state?: ConnectionState | undefined;
  readonly error?: TroupeError | undefined;
  /** The breaker of its present session: told how each request ended that was handed over while it stood. */
  readonly health?: Health | undefined;
  /** The rest of the path: session layers, connection, transport. Asks "ready?" once more; if not, the error is `unsent`. */
  readonly handle: Handler;
}

/** What hears of outcomes; a breaker fits. */
export interface Health {
  /** Taken at hand-over and given back: what began before the last change says nothing now. */
  readonly generation: number;
  report(outcome: Outcome, generation: number, now: number): void;
}

export interface PoolOptions {
  readonly server: string;
  readonly candidates: readonly Candidate[];
  readonly strategy: RoutingStrategy;
  /** Without `after` the slot of a cancelled hedge is free at once. */
  readonly clock: Pick<Clock, 'now'> & Partial<Pick<Clock, 'after'>>;
  readonly random: Random;
  readonly affinity?: AffinityOptions | undefined;
  readonly tiers?: TierOptions | undefined;
  /** `undefined`: no outlier detection. */
  readonly outlier?: OutlierOptions | undefined;
  /** Requests that wait for a slot at most, then `queue_full`. Default 256. */
  readonly maxQueue?: number | undefined;
  /** `affinity.onLoss: 'reinit'`: sets up at the new replica what was lost with the old one; the request waits for it. */
  readonly onReinit?: ((move: AffinityMove, request: Request) => Promise<void>) | undefined;
  readonly onEject?: ((ejection: Ejection) => void) | undefined;
  readonly onFault?: ((error: TroupeError) => void) | undefined;
  readonly resume?: PickerSnapshot | undefined;
  /** Where picks and slots are counted; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

const DEFAULT_MAX_QUEUE = 256;

/**
 * How long the slot of a hedge that lost is kept after its cancel went out, milliseconds. Until the server has heard of it
 * the work goes on there; without this, hedges would take a busy replica beyond its slots.
 */
const CANCEL_GRACE_MS = 50;

/** Refusals of one replica that another need not share: its session is gone, or it has no room. */
const MOVES_ON: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['unavailable', 'connection_lost', 'queue_full']);

/** A hint is at least this long (a client that comes back at once changes nothing) … */
const LEAST_RETRY_AFTER_MS = 10;
/** … and at most this (as long as a Retry-After is honoured). */
const MOST_RETRY_AFTER_MS = 60_000;

/**
 * The replicas of one server (and one credential scope): picks, leases, hands over, books the outcome. Lives as long as the
 * server does; `swap` replaces the candidates.
 */
export class ReplicaPool {
  readonly server: string;
  readonly picker: Picker;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #after: Clock['after'] | undefined;
  readonly #affinity: Affinity;
  readonly #hasAffinity: boolean;
  readonly #line: WaitingLine;
  readonly #maxQueue: number;
  readonly #onReinit: PoolOptions['onReinit'];
  #candidates: readonly Candidate[];
  #stopped: TroupeError | undefined;
  /** Slots of hedges that lost, kept for a moment. */
  readonly #inGrace = new Set<() => void>();
  /** Replicas being set up for a key that moved, by key. */
  readonly #settingUp = new Map<string, Promise<void>>();

  constructor(options: PoolOptions) {
    const { server, candidates, strategy, clock, random, affinity, tiers, outlier, onEject } = options;
    this.server = server;
    this.#clock = clock;
    this.#after = clock.after?.bind(clock);
    this.#candidates = candidates;
    this.#affinity = new Affinity(server, affinity);
    this.#hasAffinity = affinity !== undefined;
    this.#maxQueue = options.maxQueue ?? DEFAULT_MAX_QUEUE;
    this.#onReinit = options.onReinit;
    this.picker = createPicker({
      strategy: tiers === undefined ? strategy : withTiers(strategy, tiers),
      replicas: candidates,
      clock,
      random,
      server,
      outlier:
        outlier === undefined
          ? undefined
          : createOutlierDetector(
              candidates.map(({ id }) => id),
              outlier,
              onEject,
            ),
      onFault: options.onFault,
      resume: options.resume,
      stages: options.stages,
    });
    this.#line = new WaitingLine({
      clock,
      attempt: (request) => this.#attempt(request),
      serviceMs: () => this.picker.serviceMs,
      alike: ({ affinity, tried }) => !this.#hasAffinity && affinity === undefined && tried.length === 0,
    });
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  /** Requests waiting for a slot. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Handed over and not settled. */
  get inFlight(): number {
    return this.picker.live;
  }

  /** Whether any replica may be asked now, busy or not. Starts nothing. */
  get hasReady(): boolean {
    for (const { availability } of this.#candidates) if (availability !== 'impossible') return true;
    return false;
  }

  /** Whether some other replica than those `tried` could take the request now. */
  hasOther(request: Request, tried: readonly string[]): boolean {
    const isFree = !this.#hasAffinity && request.affinity === undefined;
    return (isFree || !this.#affinity.isFixed(request)) && this.picker.hasOther(tried);
  }

  load(id: string): ReplicaLoad | undefined {
    const index = this.picker.indexOf(id);
    return index === undefined ? undefined : this.picker.load(index);
  }

  /** One attempt at one replica; waits for a slot, in the order of arrival as long as all can be served in time. */
  handle(request: Request): Promise<Response> {
    const { cancellation } = request;
    if (cancellation.cancelled) return Promise.reject(cancellation.reason!);
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped.with({ attempt: request.attempt }));
    try {
      return this.#attempt(request) ?? this.#wait(request);
    } catch (error) {
      return Promise.reject(TroupeError.from(error, { server: this.server }));
    }
  }

  /** New candidates: meters and strategy state of those that stay are kept; who waits is looked at again. */
  swap(candidates: readonly Candidate[]): void {
    this.picker.resize(candidates);
    this.#candidates = candidates;
    this.#line.advance();
  }

  /** An availability or a load that is not ours has changed: who waits is looked at again. */
  wake(): void {
    this.#line.advance();
  }

  /** Rejects who waits and who comes; what was handed over goes on. Idempotent. */
  stop(
    error: TroupeError = new TroupeError('stopped', 'the engine has stopped', { server: this.server }),
  ): void {
    this.#stopped ??= error;
    this.#line.rejectAll(error);
    for (const finish of this.#inGrace) finish();
  }

  /** The answer to come, or undefined when it has to wait. Throws when it cannot be picked at all. */
  #attempt(request: Request): Promise<Response> | undefined {
    if (!this.#hasAffinity && request.affinity === undefined) return this.#pick(request);
    const placement = this.#affinity.place(request, this.#candidates, this.#clock.now());
    if (placement === undefined) return this.#pick(request);
    const setUp = this.#settingUp.get(placement.text);
    return setUp === undefined ? this.#pick(request, placement) : this.#afterSetUp(setUp, request);
  }

  #pick(request: Request, placement?: Placement): Promise<Response> | undefined {
    const result = this.picker.pick(request, placement?.key, placement?.only);
    if (result.kind === 'wait') return undefined;
    if (result.kind === 'unavailable') throw this.#unavailable(request);
    if (placement?.pin === true) {
      this.#affinity.pin(placement, this.#candidates[result.index]!);
      if (placement.from !== undefined && this.#onReinit !== undefined) {
        return this.#afterSetUp(this.#setUp(placement, result.id, request), request);
      }
    }
    return this.#handOver(request, result.index, placement?.fixed === true);
  }

  /** `pinned`: no other replica will do. */
  #handOver(request: Request, index: number, pinned: boolean): Promise<Response> {
    const candidate = this.#candidates[index]!;
    const lease = this.picker.lease(index);
    const { health } = candidate;
    const generation = health?.generation ?? 0;
    const { facts } = request;
    facts.attempts++;
    facts.connection = candidate.id;
    let answer: Promise<Response>;
    try {
      answer = candidate.handle(request);
    } catch (error) {
      answer = Promise.reject(TroupeError.from(error, { server: this.server, delivery: 'sent' }));
    }
    // One continuation books the outcome everywhere: meter, breaker, affinity, the line of those who wait.
    return answer.then(
      (response) => {
        this.#settle(lease, health, generation, outcomeOfResult(response));
        // A hedge may have been handed over since.
        facts.connection = candidate.id;
        if (this.#hasAffinity) this.#affinity.learn(response, candidate);
        this.#line.advance();
        return response;
      },
      (error: unknown) => {
        const end = (): void => {
          this.#settle(lease, health, generation, outcomeOfError(error));
          this.#line.advance();
        };
        if (isSuperseded(error)) this.#afterGrace(end);
        else end();
        if (isTroupeError(error) && error.delivery === 'unsent') {
          facts.unsent = (facts.unsent ?? 0) + 1;
          const elsewhere = pinned ? undefined : this.#elsewhere(error, candidate, request);
          if (elsewhere !== undefined) return this.handle(elsewhere);
        }
        throw this.#located(error, candidate, request);
      },
    );
  }

  #settle(lease: Lease, health: Health | undefined, generation: number, outcome: Outcome): void {
    const now = this.#clock.now();
    health?.report(outcome, generation, now);
    this.picker.settle(lease, outcome, now);
  }

  /** Lets `end` happen once the server can have heard of a cancel; at the latest with the pool. */
  #afterGrace(end: () => void): void {
    if (this.#after === undefined || this.#stopped !== undefined) {
      end();
      return;
    }
    const finish = (): void => {
      disarm();
      this.#inGrace.delete(finish);
      end();
    };
    const disarm = this.#after(CANCEL_GRACE_MS, finish, { unref: true });
    this.#inGrace.add(finish);
  }

  /**
   * What never left may go to another replica at once: it is no second attempt, needs no pause and costs no budget, since
   * nobody has seen it. Each replica is asked once at most.
   */
  #elsewhere({ code }: TroupeError, { id }: Candidate, request: Request): Request | undefined {
    if (!MOVES_ON.has(code) || request.cancellation.cancelled || request.tried.includes(id)) return undefined;
    const tried = [...request.tried, id];
    return this.picker.hasOther(tried) ? amend(request, { tried }) : undefined;
  }

  /** Every request with the key waits for it; when it fails all of them do, and the next one tries again. */
  #setUp(placement: Placement, to: string, request: Request): Promise<void> {
    const done = this.#reinit(placement, to, request).finally(() => this.#settingUp.delete(placement.text));
    // Those who wait for it hear of a failure; it must not be an unhandled rejection when they have all been cancelled.
    done.catch(() => {});
    this.#settingUp.set(placement.text, done);
    return done;
  }

  async #reinit(placement: Placement, to: string, request: Request): Promise<void> {
    try {
      await this.#onReinit!({ from: placement.from!, to }, request);
    } catch (error) {
      this.#affinity.unpin(placement);
      throw new TroupeError('affinity_lost', 'the replica that took over could not be set up', {
        server: this.server,
        connection: to,
        attempt: request.attempt,
        cause: error,
      });
    }
  }

  async #afterSetUp(done: Promise<void>, request: Request): Promise<Response> {
    const cancelled = request.cancellation.waiting();
    try {
      await Promise.race([done, cancelled.promise]);
    } finally {
      cancelled.done();
    }
    return this.handle(request);
  }

  #wait(request: Request): Promise<Response> {
    const now = this.#clock.now();
    if (now >= request.deadline) {
      return Promise.reject(this.#error('deadline_exceeded', 'no time is left to wait for a slot', request));
    }
    const { length } = this.#line;
    const slots = this.#slots();
    const meanMs = this.picker.serviceMs;
    const leftMs = request.deadline - now;
    if (length >= this.#queueCap(slots, meanMs, leftMs)) {
      const full = (): TroupeError => this.#full(slots, length, meanMs, request);
      // Who can still be answered in time takes the place of who cannot.
      if (leftMs < meanMs || !this.#line.shed(full)) return Promise.reject(full());
    }
    return this.#line.join(request, (reason) => this.#gaveUp(reason, request));
  }

  #full(slots: number, waiting: number, meanMs: number, request: Request): TroupeError {
    const afterMs = Math.ceil((meanMs * (waiting + 1)) / Math.max(1, slots));
    const detail = `all ${slots} slots are taken and ${waiting} requests wait already`;
    return this.#error('queue_full', detail, request).with({
      retryAfterMs: Math.min(MOST_RETRY_AFTER_MS, Math.max(LEAST_RETRY_AFTER_MS, afterMs)),
    });
  }

  /**
   * Who would wait beyond the deadline is told at once: slots × (time left − mean) / mean (`routing.md` §0.4; without it an
   * overloaded queue is full of requests that expire when their turn comes). One per slot may always wait: a mean is no promise.
   */
  #queueCap(slots: number, meanMs: number, leftMs: number): number {
    const inTime = Math.floor((slots * (leftMs - meanMs)) / meanMs);
    return Math.min(this.#maxQueue, Math.max(slots, inTime));
  }

  /** Slots of the replicas that take part. */
  #slots(): number {
    const { view } = this.picker;
    let slots = 0;
    for (let i = 0; i < view.n; i++) if (view.mask[i] !== 0) slots += view.slots[i]!;
    return slots;
  }

  #gaveUp(reason: TroupeError, request: Request): TroupeError {
    return reason.server === undefined
      ? reason.with({ server: this.server, attempt: request.attempt })
      : reason;
  }

  #unavailable(request: Request): TroupeError {
    let blocked: TroupeError | undefined;
    for (const candidate of this.#candidates) {
      const why = candidate.blocked;
      if (why !== undefined && (blocked?.retryAfterMs ?? Infinity) >= (why.retryAfterMs ?? Infinity))
        blocked = why;
    }
    if (blocked !== undefined) return blocked.with({ attempt: request.attempt });
    const cause = this.#candidates.find(({ error }) => error !== undefined)?.error;
    const doing = describe(this.#candidates);
    if (cause === undefined) return this.#error('unavailable', doing, request);
    return this.#error('unavailable', `${doing}: ${cause.detail}`, request).with({ data: cause.data, cause });
  }

  #error(
    code: 'unavailable' | 'queue_full' | 'deadline_exceeded',
    detail: string,
    request: Request,
  ): TroupeError {
    return new TroupeError(code, detail, { server: this.server, attempt: request.attempt });
  }

  /** What fails names its replica, so that the retry asks another one. */
  #located(error: unknown, { id }: Candidate, { attempt }: Request): TroupeError {
    const facts = { server: this.server, connection: id, attempt };
    // Of an unknown error nobody knows whether the request ran.
    if (!isTroupeError(error)) return TroupeError.from(error, { ...facts, delivery: 'sent' });
    return error.connection === undefined ? error.with(facts) : error;
  }
}

export function createPool(options: PoolOptions): ReplicaPool {
  return new ReplicaPool(options);
}

/** Cancelled after it was sent, since another replica answered first. */
function isSuperseded(error: unknown): boolean {
  if (!isTroupeError(error) || error.code !== 'cancelled' || error.delivery !== 'sent') return false;
  return (error.data as { readonly reason?: unknown } | undefined)?.reason === SUPERSEDED;
}

const DOING: Readonly<Record<ConnectionState, string>> = {
  Disconnected: 'not started',
  Connecting: 'connecting',
  Initializing: 'connecting',
  Connected: 'connected',
  Disconnecting: 'stopping',
  Error: 'down',
  AuthRequired: 'waiting for authorization',
};

/** `no ready replica (2 connecting, 1 down)`. */
export function describe(
  candidates: readonly {
    readonly state?: ConnectionState | undefined;
    readonly availability: Availability;
  }[],
): string {
  if (candidates.length === 0) return 'it has no replica';
  const counts = new Map<string, number>();
  for (const { state } of candidates) {
    const doing = state === undefined ? 'down' : DOING[state];
    counts.set(doing, (counts.get(doing) ?? 0) + 1);
  }
  return `no ready replica (${[...counts].map(([doing, count]) => `${count} ${doing}`).join(', ')})`;
}
