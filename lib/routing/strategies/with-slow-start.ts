import { type RoutingStrategy, STANDING, remapped } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';
import { Narrowed } from './narrowed.ts';
import { type Wrapped, wrap } from './wrapping.ts';

export interface SlowStartOptions {
  /** How long a replica that became usable is spared, milliseconds. Default 60 000 (Envoy's example). */
  readonly windowMs?: number | undefined;
  /** 1: its share grows linearly; above 1: faster at first. Default 1. */
  readonly aggression?: number | undefined;
  /** Share it has at least. Default 0.1 (Envoy). */
  readonly minShare?: number | undefined;
}

/** Envoy's ramp: max(minShare, (t / window)^(1 / aggression)), 1 after the window. */
export function slowStartShare(sinceMs: number, windowMs: number, aggression = 1, minShare = 0.1): number {
  if (sinceMs >= windowMs) return 1;
  return Math.max(minShare, (Math.max(sinceMs, 0) / windowMs) ** (1 / aggression));
}

interface SlowStart {
  /** When a replica became usable; NaN while it is not. */
  readonly since: Float64Array;
  readonly narrowed: Narrowed;
}

/**
 * Spares a replica that has just (re)connected: during the window it is a candidate only in its share of the picks,
 * whichever strategy is inside. (Lowering its weight, as Envoy does, would give it nothing at all under a full scan
 * until the others are ten requests deep.) When only spared ones are there, all are candidates.
 */
export function withSlowStart(
  inner: RoutingStrategy,
  options?: SlowStartOptions,
): RoutingStrategy<Wrapped<SlowStart>> {
  const { windowMs, aggression, minShare } = readNumbers('slowStart', options, {
    windowMs: { value: 60_000, min: 1, max: 86_400_000 },
    aggression: { value: 1, min: 0.1, max: 100 },
    minShare: { value: 0.1, min: 0, max: 1 },
  });
  return wrap(inner, {
    name: 'slow-start',
    around: (other) => withSlowStart(other, options),
    init: (n): SlowStart => ({ since: new Float64Array(n).fill(NaN), narrowed: new Narrowed() }),
    resize: (own, remap) => ({ since: remapped(own.since, remap, NaN), narrowed: own.narrowed }),
    pick(s, ctx) {
      const { since, narrowed } = s.own;
      const { view, now, rng, candidates } = ctx;
      let spared = 0;
      for (let i = 0; i < view.n; i++) {
        if (view.standing[i] !== STANDING.usable) since[i] = NaN;
        else if (Number.isNaN(since[i]!)) since[i] = now;
        if (now - since[i]! < windowMs) spared++;
      }
      if (spared === 0) return inner.pick(s.inner, ctx);
      narrowed.of(ctx);
      for (const i of candidates) {
        const share = slowStartShare(now - since[i]!, windowMs, aggression, minShare);
        // A suspect in a panic has no `since`; it is not spared.
        if (Number.isNaN(share) || share >= 1 || rng() < share) narrowed.candidates.push(i);
      }
      return inner.pick(s.inner, narrowed.candidates.length === 0 ? ctx : narrowed);
    },
  });
}
