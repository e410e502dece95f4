import type { Availability } from '../core/availability.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, errorText } from '../core/errors.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Random } from '../core/ports.ts';
import type { OperationClass } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';
import { type Lease, LoadMeter, type ReplicaLoad, type ReplicaSpec } from './load-meter.ts';
import type { OutlierDetector } from './outlier.ts';
import { pickLeastOutstanding } from './strategies/least-outstanding.ts';
import { rendezvousP2c } from './strategies/rendezvous-p2c.ts';
import { MASK, type PickCtx, type ReplicaView, type RoutingStrategy, STANDING } from './strategy.ts';

/** A replica as the picker sees it. `availability` and `load` are read at every pick, so they may be getters. */
export interface PickerReplica extends ReplicaSpec {
  readonly availability: Availability;
  /** What the connection itself counts, where others than this pool use it too. */
  readonly load?: { readonly inFlight: number; readonly queued: number } | undefined;
}

export interface PickerOptions<R extends PickerReplica> {
  readonly strategy: RoutingStrategy;
  readonly replicas: readonly R[];
  readonly random: Random;
  readonly clock: Pick<Clock, 'now'>;
  /** Named in errors. */
  readonly server?: string | undefined;
  /** What it ejects is suspect. */
  readonly outlier?: OutlierDetector | undefined;
  /** Asked for keyed requests where `strategy` takes no notice of keys. Default `rendezvous-p2c`. */
  readonly keyed?: RoutingStrategy | undefined;
  /** Told once per kind of fault of a strategy: code `internal`, naming strategy and server. */
  readonly onFault?: ((error: TroupeError) => void) | undefined;
  /** State of a picker before this one, of the same strategy; else it is passed over. */
  readonly resume?: PickerSnapshot | undefined;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/** What a pick depends on; a `Request` fits. */
export interface PickQuery {
  readonly attempt: number;
  /** Connection ids. Another replica is asked as long as there is another. */
  readonly tried: readonly string[];
  readonly operation: OperationClass;
}

export interface Picked {
  readonly kind: 'picked';
  readonly index: number;
  readonly id: string;
}

export interface Unavailable {
  readonly kind: 'unavailable';
  /** `empty`: no replicas. `impossible`: none can be asked. */
  readonly reason: 'empty' | 'impossible';
}

/** `wait`: all that may be asked are busy; pick again when a lease was settled or an availability has changed. */
export type PickResult = Picked | { readonly kind: 'wait' } | Unavailable;

export interface PickerSnapshot {
  readonly strategy: string;
  readonly ids: readonly string[];
  readonly state: unknown;
}

export interface Picker {
  /**
   * Masks, then asks the strategy. `key`: hash of the routing key. `only`: the one replica a strict affinity allows.
   * The answer holds until the next settlement; take the lease at once.
   */
  pick(query: PickQuery, key?: number, only?: number): PickResult;
  /** Takes a slot of a picked replica. */
  lease(index: number): Lease;
  /** Gives it back, once; the outcome reaches meter, strategy and outlier detection. False: it was settled before. */
  settle(lease: Lease, outcome: Outcome, now?: number): boolean;
  /** Swaps the identities whole; meters, records and strategy state of those that stay are kept. */
  resize(replicas: readonly PickerReplica[]): void;
  indexOf(id: string): number | undefined;
  /** Whether the mask leaves anything besides `tried`: what a hedge asks before it goes out. */
  hasOther(tried: readonly string[]): boolean;
  load(index: number): ReplicaLoad;
  readonly view: ReplicaView;
  /** How long a request takes now, milliseconds, timeouts counted as slow. */
  readonly serviceMs: number;
  /** Leases not yet settled. */
  readonly live: number;
  readonly strategy: string;
  /** Undefined where the strategy keeps nothing. */
  snapshot(): PickerSnapshot | undefined;
}

export function createPicker<R extends PickerReplica>(options: PickerOptions<R>): Picker {
  return new MaskingPicker(options);
}

const WAIT = { kind: 'wait' } as const;
const EMPTY: Unavailable = { kind: 'unavailable', reason: 'empty' };
const IMPOSSIBLE: Unavailable = { kind: 'unavailable', reason: 'impossible' };

/** The one context object of a picker, filled anew for every pick. */
class Ctx implements PickCtx {
  now = 0;
  readonly rng: Random;
  readonly view: ReplicaView;
  readonly candidates: number[] = [];
  key: number | undefined;
  attempt = 1;
  readonly tried: number[] = [];
  op: OperationClass = 'unsafe';

  constructor(rng: Random, view: ReplicaView) {
    this.rng = rng;
    this.view = view;
  }
}

/** A strategy with the state this picker keeps for it. */
interface Running {
  readonly strategy: RoutingStrategy;
  state: unknown;
}

class MaskingPicker implements Picker {
  readonly #options: PickerOptions<PickerReplica>;
  readonly #stages: Stages;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #outlier: OutlierDetector | undefined;
  readonly #meter: LoadMeter;
  readonly #ctx: Ctx;
  readonly #main: Running;
  /** Made with the first keyed request. */
  #keyed: Running | undefined;
  #replicas: readonly PickerReplica[] = [];
  #picked: readonly Picked[] = [];
  #index = new Map<string, number>();
  readonly #faults = new Set<string>();

  constructor(options: PickerOptions<PickerReplica>) {
    const { strategy, resume } = options;
    this.#options = options;
    this.#stages = options.stages ?? createStages();
    this.#clock = options.clock;
    this.#outlier = options.outlier;
    this.#meter = new LoadMeter(strategy.cost);
    this.#ctx = new Ctx(options.random, this.#meter);
    this.#main = { strategy, state: undefined };
    this.#seat(options.replicas);
    this.#init(this.#main);
    if (resume !== undefined) this.#resume(resume);
  }

  get view(): ReplicaView {
    return this.#meter;
  }

  get serviceMs(): number {
    return this.#meter.serviceMs;
  }

  get live(): number {
    return this.#meter.live;
  }

  get strategy(): string {
    return this.#main.strategy.name;
  }

  pick(query: PickQuery, key?: number, only?: number): PickResult {
    const ctx = this.#ctx;
    ctx.now = this.#clock.now();
    const tried = query.tried.length === 0 ? 0 : this.#takeTried(query.tried);
    if (tried === 0 && ctx.tried.length > 0) ctx.tried.length = 0;
    const admitted = this.#mask(only);
    if (admitted === 0) return this.#meter.n === 0 ? EMPTY : IMPOSSIBLE;
    if (ctx.candidates.length === 0) return WAIT;
    ctx.key = key;
    ctx.attempt = query.attempt;
    ctx.op = query.operation;
    // One candidate is not always an answer: a strategy may wait for another tier. But `only` leaves no choice.
    if (only !== undefined) return this.#take(only);
    const index = this.#ask(
      key === undefined || this.#main.strategy.keyed === true ? this.#main : this.#keyedRunning(),
    );
    return index < 0 ? WAIT : this.#take(index);
  }

  #take(index: number): Picked {
    this.#stages.pick += 1;
    return this.#picked[index]!;
  }

  lease(index: number): Lease {
    this.#stages.slot += 1;
    // It was picked a moment ago.
    return this.#meter.lease(index, this.#ctx.now);
  }

  settle(lease: Lease, outcome: Outcome, now = this.#clock.now()): boolean {
    const latencyMs = lease.settle(outcome, now);
    if (latencyMs < 0) return false;
    const { index } = lease;
    if (index < 0) return true;
    this.#outlier?.observe(index, outcome, now);
    this.#observe(this.#main, index, latencyMs, outcome, now);
    if (this.#keyed !== undefined) this.#observe(this.#keyed, index, latencyMs, outcome, now);
    return true;
  }

  resize(replicas: readonly PickerReplica[]): void {
    const remap = this.#seat(replicas);
    this.#outlier?.resize(this.#meter.id);
    this.#resizeState(this.#main, remap);
    if (this.#keyed !== undefined) this.#resizeState(this.#keyed, remap);
  }

  indexOf(id: string): number | undefined {
    return this.#index.get(id);
  }

  hasOther(tried: readonly string[]): boolean {
    const now = this.#clock.now();
    return this.#replicas.some(
      ({ id, availability }, index) =>
        availability === 'usable' && this.#outlier?.isEjected(index, now) !== true && !tried.includes(id),
    );
  }

  load(index: number): ReplicaLoad {
    return this.#meter.load(index, this.#clock.now());
  }

  snapshot(): PickerSnapshot | undefined {
    const { strategy, state } = this.#main;
    if (strategy.snapshot === undefined) return undefined;
    return { strategy: strategy.name, ids: this.#meter.id, state: strategy.snapshot(state) };
  }

  /** Indexes of what was tried, as far as it is still here. */
  #takeTried(ids: readonly string[]): number {
    const { tried } = this.#ctx;
    tried.length = 0;
    for (const id of ids) {
      const index = this.#index.get(id);
      if (index !== undefined) tried.push(index);
    }
    return tried.length;
  }

  /**
   * Fills mask and candidates; returns how many may be asked at all, free or full. In this order: usable ones not tried,
   * usable ones, and only when there is none (panic) suspects not tried, suspects. An impossible one never.
   */
  #mask(only: number | undefined): number {
    const usable = this.#maskUsable();
    if (usable > 0 && only === undefined && this.#ctx.tried.length === 0) return usable;
    return this.#maskOthers(only);
  }

  /** The ordinary case in one pass: somebody is usable, nothing was tried, nobody is excluded. */
  #maskUsable(): number {
    const meter = this.#meter;
    const { n, standing, mask, inflight, slots } = meter;
    const { candidates, now } = this.#ctx;
    const replicas = this.#replicas;
    const outlier = this.#outlier;
    let usable = 0;
    let count = 0;
    for (let i = 0; i < n; i++) {
      const replica = replicas[i]!;
      const { availability, load } = replica;
      if (load !== undefined) meter.reportLoad(i, load.inFlight, load.queued);
      if (availability !== 'usable' || outlier?.isEjected(i, now) === true) {
        standing[i] = availability === 'impossible' ? STANDING.impossible : STANDING.suspect;
        mask[i] = MASK.out;
        continue;
      }
      usable++;
      standing[i] = STANDING.usable;
      if (inflight[i]! >= slots[i]!) {
        mask[i] = MASK.full;
        continue;
      }
      mask[i] = MASK.candidate;
      // Written in place: setting the length to 0 first would throw the backing store away.
      candidates[count++] = i;
    }
    if (candidates.length !== count) candidates.length = count;
    return usable;
  }

  /** The standings are known; decides by them who may be asked. */
  #maskOthers(only: number | undefined): number {
    const { n, standing } = this.#meter;
    const { tried } = this.#ctx;
    let usable = 0;
    let usableUntried = 0;
    let suspect = 0;
    let suspectUntried = 0;
    for (let i = 0; i < n; i++) {
      if (standing[i] === STANDING.impossible || (only !== undefined && only !== i)) continue;
      const fresh = tried.includes(i) ? 0 : 1;
      if (standing[i] === STANDING.usable) {
        usable++;
        usableUntried += fresh;
      } else {
        suspect++;
        suspectUntried += fresh;
      }
    }
    const all = usable > 0 ? usable : suspect;
    const untried = usable > 0 ? usableUntried : suspectUntried;
    if (all > 0) this.#admit(usable > 0 ? STANDING.usable : STANDING.suspect, untried > 0, only);
    return untried > 0 ? untried : all;
  }

  #admit(wanted: number, skipTried: boolean, only: number | undefined): void {
    const { n, standing, mask, inflight, slots } = this.#meter;
    const { candidates, tried } = this.#ctx;
    let count = 0;
    for (let i = 0; i < n; i++) {
      if (standing[i] !== wanted || (only !== undefined && only !== i) || (skipTried && tried.includes(i))) {
        mask[i] = MASK.out;
      } else if (inflight[i]! >= slots[i]!) {
        mask[i] = MASK.full;
      } else {
        mask[i] = MASK.candidate;
        candidates[count++] = i;
      }
    }
    if (candidates.length !== count) candidates.length = count;
  }

  /** The strategy's index, −1 for wait; a fault is covered by least outstanding. */
  #ask(running: Running): number {
    const ctx = this.#ctx;
    let index: number;
    try {
      index = running.strategy.pick(running.state, ctx);
    } catch (error) {
      this.#fault(running, 'threw in pick', error);
      return pickLeastOutstanding(ctx);
    }
    if (this.#meter.mask[index] === MASK.candidate) return index;
    if (index === -1) {
      // With nothing in flight nothing will settle: such a wait would never end.
      if (this.#meter.live > 0 || this.#meter.mask.includes(MASK.full)) return -1;
      this.#fault(running, 'asked to wait although nothing is in flight');
    } else {
      this.#fault(running, `picked ${String(index)}, which is no candidate`);
    }
    return pickLeastOutstanding(ctx);
  }

  #keyedRunning(): Running {
    if (this.#keyed === undefined) {
      const strategy = this.#options.keyed ?? rendezvousP2c();
      // Tiers and subsets around the main strategy hold for keyed requests too.
      this.#keyed = { strategy: this.#main.strategy.rewrap?.(strategy) ?? strategy, state: undefined };
      this.#init(this.#keyed);
    }
    return this.#keyed;
  }

  #seat(replicas: readonly PickerReplica[]): Int32Array {
    const index = new Map<string, number>();
    replicas.forEach(({ id }, i) => {
      if (index.has(id)) {
        throw new TroupeError('internal', `two replicas of a pool have the id "${id}"`, {
          server: this.#options.server,
        });
      }
      index.set(id, i);
    });
    this.#replicas = replicas;
    this.#index = index;
    this.#picked = replicas.map(({ id }, i) => Object.freeze({ kind: 'picked', index: i, id }));
    return this.#meter.resize(replicas);
  }

  #init(running: Running): void {
    const { n, id } = this.#meter;
    running.state = running.strategy.init(n, id);
  }

  #resizeState(running: Running, remap: Int32Array): void {
    const { strategy } = running;
    try {
      if (strategy.resize === undefined) this.#init(running);
      else running.state = strategy.resize(running.state, remap, this.#meter.id);
    } catch (error) {
      this.#fault(running, 'threw in resize', error);
      this.#init(running);
    }
  }

  #resume({ strategy: name, ids, state }: PickerSnapshot): void {
    const { strategy } = this.#main;
    if (strategy.restore === undefined || strategy.name !== name) return;
    const before = new Map(ids.map((id, index) => [id, index]));
    const remap = Int32Array.from(this.#meter.id, (id) => before.get(id) ?? -1);
    try {
      const restored = strategy.restore(state);
      this.#main.state =
        strategy.resize === undefined ? restored : strategy.resize(restored, remap, this.#meter.id);
    } catch (error) {
      this.#fault(this.#main, 'threw in restore', error);
      this.#init(this.#main);
    }
  }

  #observe(running: Running, index: number, latencyMs: number, outcome: Outcome, now: number): void {
    const { strategy } = running;
    if (strategy.observe === undefined) return;
    try {
      strategy.observe(running.state, { index, latencyMs, outcome, now });
    } catch (error) {
      this.#fault(running, 'threw in observe', error);
    }
  }

  #fault({ strategy }: Running, what: string, cause?: unknown): void {
    const kind = `${strategy.name}: ${what.replace(/-?\d+/, '')}`;
    if (this.#faults.has(kind)) return;
    this.#faults.add(kind);
    const why = cause === undefined ? '' : ` (${errorText(cause)})`;
    const error = new TroupeError(
      'internal',
      `routing strategy "${strategy.name}" ${what}${why}; least-outstanding stands in for it, and this is reported once`,
      { server: this.#options.server, cause },
    );
    try {
      this.#options.onFault?.(error);
    } catch {
      // A listener that throws harms nobody.
    }
  }
}
