import { isCountable, isFailure } from '../../core/outcome.ts';
import { peaked, remaining } from '../ewma.ts';
import { type PickCtx, type RoutingStrategy, columnOf, remapped } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';
import { firstOfTwo, secondOfTwo } from './p2c.ts';

export interface PeakEwmaState {
  /** Peak average as it was at `at`, milliseconds; NaN before the first sample. */
  readonly cost: Float64Array;
  /** NaN after a restore, whose clock is another one: the cost then ages from the first look. */
  readonly at: Float64Array;
}

/**
 * Two candidates at random, the lower peak-EWMA cost × (in flight + 1) wins (Finagle, Linkerd). Costs decay towards 0, so
 * a slow replica is tried again. Options: `tauMs` 10 000 (Finagle's decayTime), `seedMs` 30 (Linkerd's default RTT) while
 * nobody has answered, `penaltyMs` 5 000 (Linkerd's load-biaser) for a failure; with 0 a failure counts with its
 * latency, and a replica that fails fast attracts 2/n of the traffic.
 */
export function p2cPeakEwma(options?: unknown): RoutingStrategy<PeakEwmaState> {
  const { tauMs, seedMs, penaltyMs } = readNumbers('p2c-peak-ewma', options, {
    tauMs: { value: 10_000, min: 1, max: 3_600_000 },
    seedMs: { value: 30, min: 0.001, max: 60_000 },
    penaltyMs: { value: 5_000, min: 0, max: 600_000 },
  });
  const costOf = (s: PeakEwmaState, i: number, { now, view }: PickCtx): number => {
    const value = s.cost[i]!;
    // As good as the others until it is known: a fixed guess above what they take would keep it from ever being tried.
    if (Number.isNaN(value)) return view.medianMs;
    if (Number.isNaN(s.at[i]!)) s.at[i] = now;
    return value * remaining(now - s.at[i]!, tauMs);
  };
  return {
    name: 'p2c-peak-ewma',
    cost: { tauMs, penaltyMs, seedMs },
    init: (n) => ({ cost: new Float64Array(n).fill(NaN), at: new Float64Array(n).fill(NaN) }),
    pick(s, ctx) {
      const a = firstOfTwo(ctx);
      if (ctx.candidates.length === 1) return a;
      const b = secondOfTwo(ctx, a);
      const { inflight, weight } = ctx.view;
      const loadA = (costOf(s, a, ctx) * (inflight[a]! + 1)) / weight[a]!;
      const loadB = (costOf(s, b, ctx) * (inflight[b]! + 1)) / weight[b]!;
      return loadA <= loadB ? a : b;
    },
    observe(s, { index, latencyMs, outcome, now }) {
      if (!isCountable(outcome)) return;
      const before = s.cost[index]!;
      const known = !Number.isNaN(before);
      if (isFailure(outcome) && penaltyMs > 0) {
        s.cost[index] = known ? Math.max(penaltyMs, before) : penaltyMs;
      } else {
        s.cost[index] = known
          ? peaked(before, latencyMs, Number.isNaN(s.at[index]!) ? 0 : now - s.at[index]!, tauMs)
          : latencyMs;
      }
      s.at[index] = now;
    },
    resize: (s, remap) => ({ cost: remapped(s.cost, remap, NaN), at: remapped(s.at, remap, NaN) }),
    snapshot: (s) => Array.from(s.cost),
    restore(json) {
      const cost = columnOf(json, NaN);
      return { cost, at: new Float64Array(cost.length).fill(NaN) };
    },
  };
}
