import { createPicker } from '../../lib/routing/picker.ts';
import { Kernel } from './kernel.ts';
import type { StrategyMaker } from './scenario.ts';

const PICKS = 20_000;

/** Nanoseconds of a pick with its mask, on this machine; the better of two runs, the first one warms up. */
export function timePicks(strategy: StrategyMaker, replicas: number): number {
  const kernel = new Kernel(1);
  const picker = createPicker({
    strategy: strategy({ probe: (_, report) => report({ inFlight: 1, latencyMs: 10, at: kernel.now() }) }),
    replicas: Array.from({ length: replicas }, (_, i) => ({
      id: `pool#${i}`,
      availability: 'usable' as const,
    })),
    random: kernel.stream('routing'),
    clock: kernel,
  });
  const query = { attempt: 1, tried: [], operation: 'read' } as const;
  let best = Infinity;
  for (let run = 0; run < 2; run++) {
    const from = performance.now();
    for (let k = 0; k < PICKS; k++) picker.pick(query);
    best = Math.min(best, performance.now() - from);
  }
  return (best * 1e6) / PICKS;
}
