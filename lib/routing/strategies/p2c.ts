import type { PickCtx, RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/**
 * Two candidates at random, the one with fewer requests in flight wins (Finagle's `P2CPick`, without its retries: the
 * mask has done their work). Costs the same at any size; worth it above a hundred replicas, or where many engines share
 * them and would herd.
 */
export function p2c(options?: unknown): RoutingStrategy<null> {
  readNumbers('p2c', options, {});
  return {
    name: 'p2c',
    init: () => null,
    pick(_, ctx) {
      const a = firstOfTwo(ctx);
      if (ctx.candidates.length === 1) return a;
      const b = secondOfTwo(ctx, a);
      const { inflight, weight } = ctx.view;
      return (inflight[a]! + 1) / weight[a]! <= (inflight[b]! + 1) / weight[b]! ? a : b;
    },
  };
}

export function firstOfTwo({ candidates, rng }: PickCtx): number {
  return candidates[candidates.length === 1 ? 0 : Math.floor(rng() * candidates.length)]!;
}

/** Another candidate than `first`, uniform over the rest. Which of the two came first is chance, so ties need no coin. */
export function secondOfTwo({ candidates, rng }: PickCtx, first: number): number {
  const other = candidates[Math.floor(rng() * (candidates.length - 1))]!;
  // Drawn from all but the last: the last stands in for the first choice.
  return other === first ? candidates[candidates.length - 1]! : other;
}
