import type { RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/**
 * The first candidate of the lowest tier, in order of declaration. For a standby that should idle; one whose slots are
 * full is passed over like one that is down.
 */
export function priorityFailover(options?: unknown): RoutingStrategy<null> {
  readNumbers('priority-failover', options, {});
  return {
    name: 'priority-failover',
    ordered: true,
    init: () => null,
    pick(_, { candidates, view }) {
      let best = candidates[0]!;
      for (let k = 1; k < candidates.length; k++) {
        const i = candidates[k]!;
        if (view.tier[i]! < view.tier[best]!) best = i;
      }
      return best;
    },
  };
}
