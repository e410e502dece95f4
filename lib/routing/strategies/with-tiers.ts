import { MASK, type PickCtx, type RoutingStrategy } from '../strategy.ts';
import { type TierOptions, tierOptions, tierShares, usableShares } from '../tiers.ts';
import { Narrowed } from './narrowed.ts';
import { type Wrapped, wrap } from './wrapping.ts';

/**
 * Keeps a strategy within one tier per pick. `failover`: the lowest tier that has anything to ask. `proportional`: a tier
 * drawn by Envoy's spill rule. A tier whose slots are all taken is waited for: being busy is load, not availability.
 */
export function withTiers(inner: RoutingStrategy, options?: TierOptions): RoutingStrategy<Wrapped<Narrowed>> {
  const { mode, factor } = tierOptions(options);
  return wrap(inner, {
    name: 'tiers',
    around: (other) => withTiers(other, options),
    init: () => new Narrowed(),
    resize: (own) => own,
    restore: () => new Narrowed(),
    pick(s, ctx) {
      if (ctx.view.tiers <= 1) return inner.pick(s.inner, ctx);
      const lowest = lowestTier(ctx);
      const tier = mode === 'failover' ? lowest : drawnTier(ctx, factor, lowest);
      const narrowed = s.own.of(ctx);
      for (const i of ctx.candidates) if (ctx.view.tier[i] === tier) narrowed.candidates.push(i);
      return narrowed.candidates.length === 0 ? -1 : inner.pick(s.inner, narrowed);
    },
  });
}

/** The lowest tier with a replica that may be asked for this request, free or full. */
function lowestTier({ view }: PickCtx): number {
  let lowest = view.tiers;
  for (let i = 0; i < view.n; i++) {
    if (view.mask[i] !== MASK.out && view.tier[i]! < lowest) lowest = view.tier[i]!;
  }
  return lowest;
}

function drawnTier(ctx: PickCtx, factor: number, lowest: number): number {
  const { view, rng } = ctx;
  let at = rng();
  const shares = tierShares(usableShares(view), factor);
  for (let tier = 0; tier < shares.length; tier++) {
    at -= shares[tier]!;
    // What was tried already may have been all there is of the tier.
    if (at < 0) return hasAny(ctx, tier) ? tier : lowest;
  }
  // Only suspects are left (panic).
  return lowest;
}

function hasAny({ view }: PickCtx, tier: number): boolean {
  for (let i = 0; i < view.n; i++) if (view.tier[i] === tier && view.mask[i] !== MASK.out) return true;
  return false;
}
