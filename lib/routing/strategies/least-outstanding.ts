import type { PickCtx, RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/**
 * Fewest requests in flight, ties at random (index ties would send 67 % of light traffic to the first of ten). Blind to
 * weights and latency. For replicas of equal speed and jobs of unlike length.
 */
export function leastOutstanding(options?: unknown): RoutingStrategy<null> {
  readNumbers('least-outstanding', options, {});
  return { name: 'least-outstanding', init: () => null, pick: (_, ctx) => pickLeastOutstanding(ctx) };
}

/** Also what the picker falls back to when a strategy fails. */
export function pickLeastOutstanding({ candidates, view, rng }: PickCtx): number {
  const { inflight } = view;
  let least = Infinity;
  let ties = 0;
  let best = -1;
  for (let k = 0; k < candidates.length; k++) {
    const i = candidates[k]!;
    const load = inflight[i]!;
    if (load < least) {
      least = load;
      ties = 1;
      best = i;
    } else if (load === least) {
      ties++;
    }
  }
  if (ties <= 1) return best;
  // One random number for any number of ties: count first, then walk to the chosen one.
  let skip = Math.floor(rng() * ties);
  for (let k = 0; k < candidates.length; k++) {
    const i = candidates[k]!;
    if (inflight[i] === least && skip-- === 0) return i;
  }
  return best;
}
