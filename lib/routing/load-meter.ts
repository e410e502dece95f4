import { type Outcome, isCountable, isFailure } from '../core/outcome.ts';
import { averaged, faded } from './ewma.ts';
import { type CostOptions, DEFAULT_COST, type ReplicaView, remapped } from './strategy.ts';

/** The fixed facts of a replica. */
export interface ReplicaSpec {
  readonly id: string;
  /** In-flight requests it takes at most. Default: unlimited. */
  readonly slots?: number | undefined;
  /** Default 1. */
  readonly weight?: number | undefined;
  /** 0 … 255; 0 is asked first. Default 0. */
  readonly tier?: number | undefined;
  readonly zone?: string | undefined;
}

/** One replica as a report shows it. */
export interface ReplicaLoad {
  readonly inFlight: number;
  readonly queued: number;
  /** Moving average of answered requests, milliseconds; undefined before the first. */
  readonly latencyMs: number | undefined;
  /** What the strategies reckon with: latency and penalties. */
  readonly costMs: number;
  /** Requests handed over in all. */
  readonly calls: number;
}

/** Where a replica stands in the columns now; −1 once it is gone. Leases hold it, so that a resize cannot misdirect them. */
interface Seat {
  index: number;
}

const UNLIMITED = 2_147_483_647;

/** Of the newest request in the mean time of the pool: a dip is known after ten to twenty requests, and so is its end. */
const SERVICE_WEIGHT = 0.1;

/** Nothing is free: keeps products of cost and load apart from 0 for servers that answer in no time. */
const LEAST_COST_MS = 0.001;

/**
 * One request at one replica, taken when it is handed over. `settle` releases it exactly once, whoever calls it how often.
 */
export class Lease {
  readonly #meter: LoadMeter;
  readonly #seat: Seat;
  readonly #since: number;
  #open = true;

  constructor(meter: LoadMeter, seat: Seat, since: number) {
    this.#meter = meter;
    this.#seat = seat;
    this.#since = since;
  }

  /** Present index of the replica, −1 when it left the pool. */
  get index(): number {
    return this.#seat.index;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Gives the slot back and books the outcome. Returns the latency in milliseconds, or −1 if it was settled before. */
  settle(outcome: Outcome, now: number): number {
    if (!this.#open) return -1;
    this.#open = false;
    const latencyMs = now - this.#since;
    this.#meter.settle(this.#seat.index, outcome, latencyMs, now);
    return latencyMs;
  }
}

/**
 * How loaded the replicas of a pool are, as columns. Three rules make the cost (`routing.md` §0.2, §1.2):
 * an answer, good or bad, is averaged in with its latency; a failure counts as the penalty at least, at once; and what was
 * learnt is forgotten towards the median of the pool, so that no replica starves for an old failure. The median is that
 * of answered requests only: penalties in it would keep the replicas down after most of a pool had failed together.
 */
export class LoadMeter implements ReplicaView {
  n = 0;
  id: readonly string[] = [];
  weight = new Float64Array(0);
  weighted = false;
  inflight = new Int32Array(0);
  queued = new Int32Array(0);
  slots = new Int32Array(0);
  costMs = new Float64Array(0);
  costAt = new Float64Array(0);
  tier = new Uint8Array(0);
  tiers = 1;
  zone: readonly (string | undefined)[] = [];
  mask = new Uint8Array(0);
  standing = new Uint8Array(0);
  medianMs: number;
  /** Mean time of the last requests of the pool, milliseconds; NaN before the first. */
  #serviceMs = NaN;
  /** Requests handed over and not settled, over all replicas, those that left the pool included. */
  live = 0;

  readonly #cost: CostOptions;
  /** In flight by our own leases; `inflight` may know of more. */
  #leased = new Int32Array(0);
  #calls = new Float64Array(0);
  /** Average latency of answered requests and when it was updated; NaN before the first. */
  #served = new Float64Array(0);
  #servedAt = new Float64Array(0);
  /** Indexes with an answered request, by latency, and the place of each index in it (−1: none). */
  #order = new Int32Array(0);
  #place = new Int32Array(0);
  #answered = 0;
  #seats: Seat[] = [];

  constructor(cost: CostOptions = DEFAULT_COST) {
    this.#cost = cost;
    this.medianMs = cost.seedMs;
  }

  /**
   * How long a request takes now, milliseconds: what the queue reckons with. One that timed out took at least as long as
   * it was given, so it counts as that slow; one that failed otherwise says nothing about it.
   */
  get serviceMs(): number {
    return Number.isNaN(this.#serviceMs) ? this.medianMs : this.#serviceMs;
  }

  cost(index: number, now: number): number {
    return Math.max(
      LEAST_COST_MS,
      faded(this.costMs[index]!, this.medianMs, now - this.costAt[index]!, this.#cost.tauMs),
    );
  }

  lease(index: number, now: number): Lease {
    this.live++;
    this.#calls[index] = this.#calls[index]! + 1;
    this.#leased[index] = this.#leased[index]! + 1;
    this.inflight[index] = this.inflight[index]! + 1;
    return new Lease(this, this.#seats[index]!, now);
  }

  /** Called by the lease, once. */
  settle(index: number, outcome: Outcome, latencyMs: number, now: number): void {
    this.live--;
    if (index < 0) return;
    this.#leased[index] = this.#leased[index]! - 1;
    this.inflight[index] = Math.max(this.inflight[index]! - 1, this.#leased[index]);
    if (!isCountable(outcome)) return;
    const failed = isFailure(outcome);
    if (outcome === 'timeout') this.#noteService(Math.max(latencyMs, this.serviceMs));
    else if (!failed) this.#noteService(latencyMs);
    this.#book(index, failed, latencyMs, now);
  }

  #noteService(ms: number): void {
    const before = this.#serviceMs;
    this.#serviceMs = Number.isNaN(before) ? ms : before + SERVICE_WEIGHT * (ms - before);
  }

  /** Takes over what the connection itself counts, where others than this pool use it too. */
  reportLoad(index: number, inFlight: number, queued: number): void {
    this.inflight[index] = Math.max(inFlight, this.#leased[index]!);
    this.queued[index] = queued;
  }

  load(index: number, now: number): ReplicaLoad {
    const served = this.#served[index]!;
    return {
      inFlight: this.inflight[index]!,
      queued: this.queued[index]!,
      latencyMs: Number.isNaN(served) ? undefined : served,
      costMs: this.cost(index, now),
      calls: this.#calls[index]!,
    };
  }

  /** Replaces the identities; returns the remap for the strategy (`RoutingStrategy.resize`). */
  resize(specs: readonly ReplicaSpec[]): Int32Array {
    const before = new Map(this.id.map((id, index) => [id, index]));
    const remap = Int32Array.from(specs, ({ id }) => before.get(id) ?? -1);
    const seats = this.#seats;
    for (const seat of seats) seat.index = -1;
    this.#seats = Array.from(remap, (old, index) => {
      const seat = old < 0 ? { index } : seats[old]!;
      seat.index = index;
      return seat;
    });
    const counts = (column: Int32Array): Int32Array<ArrayBuffer> =>
      Int32Array.from(remap, (old) => (old < 0 ? 0 : column[old]!));

    this.n = specs.length;
    this.id = specs.map(({ id }) => id);
    this.#leased = counts(this.#leased);
    this.inflight = counts(this.inflight);
    this.queued = counts(this.queued);
    this.costMs = new Float64Array(remapped(this.costMs, remap, this.#cost.seedMs));
    this.costAt = new Float64Array(remapped(this.costAt, remap, -Infinity));
    this.#calls = new Float64Array(remapped(this.#calls, remap, 0));
    this.#served = new Float64Array(remapped(this.#served, remap, NaN));
    this.#servedAt = new Float64Array(remapped(this.#servedAt, remap, -Infinity));
    this.mask = new Uint8Array(this.n);
    this.standing = new Uint8Array(this.n);
    this.#takeFacts(specs);
    this.#sort();
    return remap;
  }

  #takeFacts(specs: readonly ReplicaSpec[]): void {
    this.slots = Int32Array.from(specs, ({ slots = UNLIMITED }) => Math.min(slots, UNLIMITED));
    this.weight = Float64Array.from(specs, ({ weight = 1 }) => weight);
    this.weighted = this.weight.some((w) => w !== this.weight[0]);
    this.tier = Uint8Array.from(specs, ({ tier = 0 }) => tier);
    this.tiers = this.tier.reduce((most, tier) => Math.max(most, tier), 0) + 1;
    this.zone = specs.map(({ zone }) => zone);
  }

  #book(index: number, failed: boolean, latencyMs: number, now: number): void {
    const { tauMs, penaltyMs } = this.#cost;
    const before = this.costMs[index]!;
    const elapsed = now - this.costAt[index]!;
    if (failed && penaltyMs > 0) this.costMs[index] = Math.max(penaltyMs, before);
    else this.costMs[index] = averaged(before, latencyMs, elapsed, tauMs);
    this.costAt[index] = now;
    if (failed) return;
    const served = this.#served[index]!;
    this.#served[index] = Number.isNaN(served)
      ? latencyMs
      : averaged(served, latencyMs, now - this.#servedAt[index]!, tauMs);
    this.#servedAt[index] = now;
    this.#settleOrder(index);
  }

  /** Moves one index to its place: latencies change little, so this is a step or two where a sort would be n log n. */
  #settleOrder(index: number): void {
    const order = this.#order;
    const place = this.#place;
    const served = this.#served;
    const mine = served[index]!;
    let at = place[index]!;
    if (at < 0) at = this.#answered++;
    while (at > 0 && served[order[at - 1]!]! > mine) {
      order[at] = order[at - 1]!;
      place[order[at]!] = at;
      at--;
    }
    while (at + 1 < this.#answered && served[order[at + 1]!]! < mine) {
      order[at] = order[at + 1]!;
      place[order[at]!] = at;
      at++;
    }
    order[at] = index;
    place[index] = at;
    this.#readMedian();
  }

  #sort(): void {
    const answered = Array.from(this.#served.keys()).filter((i) => !Number.isNaN(this.#served[i]!));
    answered.sort((a, b) => this.#served[a]! - this.#served[b]!);
    this.#order = new Int32Array(this.n);
    this.#order.set(answered);
    this.#place = new Int32Array(this.n).fill(-1);
    answered.forEach((index, at) => {
      this.#place[index] = at;
    });
    this.#answered = answered.length;
    this.#readMedian();
  }

  #readMedian(): void {
    // The lower one of two: of a fast and a slow replica the fast one is the standard.
    this.medianMs =
      this.#answered === 0 ? this.#cost.seedMs : this.#served[this.#order[(this.#answered - 1) >> 1]!]!;
  }
}
