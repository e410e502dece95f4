import type { RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/**
 * Least (in flight + 1) / weight, ties at random. With true weights the best of all where replicas differ in speed
 * (`routing.md` §1.2); with wrong ones worse than `ewma-least-outstanding`, which finds them out itself.
 */
export function weightedLeastOutstanding(options?: unknown): RoutingStrategy<null> {
  readNumbers('weighted-least-outstanding', options, {});
  return {
    name: 'weighted-least-outstanding',
    init: () => null,
    pick(_, { candidates, view, rng }) {
      const { inflight, weight } = view;
      let least = Infinity;
      let ties = 0;
      let best = -1;
      for (let k = 0; k < candidates.length; k++) {
        const i = candidates[k]!;
        const load = (inflight[i]! + 1) / weight[i]!;
        if (load < least) {
          least = load;
          ties = 1;
          best = i;
        } else if (load === least && rng() * ++ties < 1) {
          best = i;
        }
      }
      return best;
    },
  };
}
