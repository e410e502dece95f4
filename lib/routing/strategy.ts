import type { Outcome } from '../core/outcome.ts';
import type { Random } from '../core/ports.ts';
import type { OperationClass } from '../core/request.ts';

/** What `ReplicaView.mask` says about a replica for the pick at hand. */
export const MASK = {
  /** Not to be asked: not available, or already tried while others are there. */
  out: 0,
  /** May be asked, but all its slots are taken. */
  full: 1,
  /** A candidate. */
  candidate: 2,
} as const;

/** What `ReplicaView.standing` says about the availability of a replica, whatever its load. */
export const STANDING = { impossible: 0, suspect: 1, usable: 2 } as const;

/**
 * All replicas of a pool as columns, kept up by the picker; read it, never write to it, and never keep a column across
 * picks: a `resize` replaces them.
 */
export interface ReplicaView {
  readonly n: number;
  readonly id: readonly string[];
  /** Share of the traffic a replica should get relative to the others. Default 1. */
  readonly weight: Float64Array;
  /** Whether the weights differ at all; where not, the arithmetic can be skipped. */
  readonly weighted: boolean;
  /** Requests handed over and not settled, those queued at the replica included. */
  readonly inflight: Int32Array;
  readonly queued: Int32Array;
  /** In-flight requests a replica takes at most. */
  readonly slots: Int32Array;
  /** Moving average of latencies and penalties in milliseconds, as it was at `costAt`. Rather read `cost`. */
  readonly costMs: Float64Array;
  /** When `costMs` was last updated, on the clock of `PickCtx.now`; −∞ before the first sample. */
  readonly costAt: Float64Array;
  /** Expected cost now: `costMs`, forgotten towards the pool's median as time goes by. Never below a small positive number. */
  cost(index: number, now: number): number;
  /** Median of the latencies of answered requests over the pool, milliseconds; the seed before there is one. */
  readonly medianMs: number;
  /** 0 is asked first. */
  readonly tier: Uint8Array;
  /** Highest tier in the pool + 1. */
  readonly tiers: number;
  readonly zone: readonly (string | undefined)[];
  /** One of `MASK`, for the pick at hand. */
  readonly mask: Uint8Array;
  /** One of `STANDING`, for the pick at hand. */
  readonly standing: Uint8Array;
}

export interface PickCtx {
  /** Monotonic milliseconds; never goes back. */
  readonly now: number;
  /** Seeded; the only source of chance. */
  readonly rng: Random;
  readonly view: ReplicaView;
  /** Indexes in the view, ascending, never empty; already masked: available, with a free slot, not tried. Not to be kept. */
  readonly candidates: readonly number[];
  /** 32-bit hash of the routing key, where the request has one. */
  readonly key: number | undefined;
  /** Counted from 1. */
  readonly attempt: number;
  /** Indexes in the view that this request has tried. */
  readonly tried: readonly number[];
  readonly op: OperationClass;
}

/** How latencies and failures become the cost of a replica. */
export interface CostOptions {
  /** Time constant of averaging and of forgetting, milliseconds. */
  readonly tauMs: number;
  /** What a failure costs at least, milliseconds; 0: no more than the time it took. */
  readonly penaltyMs: number;
  /** Cost while nobody in the pool has answered yet, milliseconds. */
  readonly seedMs: number;
}

/**
 * τ 10 s (Finagle's decayTime), penalty 5 s (Linkerd's load-biaser, 2026), seed 30 ms (Linkerd's default RTT). Without
 * the penalty one replica of ten that fails in 1 ms gets all the traffic (`routing.md` §0.2).
 */
export const DEFAULT_COST: CostOptions = { tauMs: 10_000, penaltyMs: 5_000, seedMs: 30 };

/** A request has settled. */
export interface Observation {
  readonly index: number;
  readonly latencyMs: number;
  readonly outcome: Outcome;
  readonly now: number;
}

/**
 * How a replica is chosen. Pure and synchronous: no I/O, no timer, no clock, no chance but `rng`. Write your own:
 *
 * ```ts
 * const firstFree: RoutingStrategy<null> = {
 *   name: 'first-free',
 *   init: () => null,
 *   pick: (_, { candidates, view }) => candidates.find((i) => view.inflight[i] === 0) ?? -1,
 * };
 * ```
 *
 * A strategy that throws or picks what is no candidate costs nobody a request: the picker falls back to least
 * outstanding for that pick and reports the fault once.
 */
export interface RoutingStrategy<S = unknown> {
  readonly name: string;
  /** Uses `PickCtx.key`. Where a keyed request meets a strategy that does not, the picker asks one that does. */
  readonly keyed?: boolean;
  /** The order of declaration means something to it (`priority-failover`), so permuting replicas changes the picks. */
  readonly ordered?: boolean;
  /** How the load meter is to keep `ReplicaView.cost`. Default: `DEFAULT_COST`. */
  readonly cost?: CostOptions;
  /** Wrappers: the same wrapping around another strategy. */
  readonly rewrap?: (inner: RoutingStrategy) => RoutingStrategy;
  init(n: number, ids: readonly string[]): S;
  /** An index out of `candidates`, or −1 to wait until a request of the pool settles. */
  pick(state: S, ctx: PickCtx): number;
  observe?(state: S, event: Observation): void;
  /**
   * The replicas have changed. `remap[i]` is the old index of the one now at `i`, −1 for a new one. Keep the state of
   * those that stay. Without it the state starts afresh.
   */
  resize?(state: S, remap: Int32Array, ids: readonly string[]): S;
  /** The state as plain JSON … */
  snapshot?(state: S): unknown;
  /** … and back, for the same ids in the same order (the picker then calls `resize`). */
  restore?(json: unknown): S;
}

/** A column after `resize`: survivors keep their value, new ones get `fresh`. */
export function remapped(column: Float64Array, remap: Int32Array, fresh: number): Float64Array {
  const next = new Float64Array(remap.length);
  for (let i = 0; i < remap.length; i++) {
    const old = remap[i]!;
    next[i] = old < 0 ? fresh : column[old]!;
  }
  return next;
}

/** For `restore`: an array of numbers out of a snapshot, `null` standing for what JSON cannot say. */
export function columnOf(json: unknown, absent: number): Float64Array {
  if (!Array.isArray(json)) throw new TypeError('the snapshot has no column of numbers');
  return Float64Array.from(json, (v: unknown) => (typeof v === 'number' ? v : absent));
}
