import type { RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/** Uniform over the candidates. Needs no state and never herds; the worst queueing of all. A baseline. */
export function random(options?: unknown): RoutingStrategy<null> {
  readNumbers('random', options, {});
  return {
    name: 'random',
    init: () => null,
    pick: (_, { candidates, rng }) => candidates[Math.floor(rng() * candidates.length)]!,
  };
}
