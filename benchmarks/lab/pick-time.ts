import { Kernel } from './kernel.ts';
import type { StrategyMaker } from './scenario.ts';
import { strictPicker } from './strict-picker.ts';

const PICKS = 2_000;
const RUNS = 10;
const ENOUGH_MS = 40;

/** Nanoseconds of a pick with its mask, on this machine; the best of up to ten runs, the first ones warm up. */
export function timePicks(strategy: StrategyMaker, replicas: number): number {
  const kernel = new Kernel(1);
  const picker = strictPicker({
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
  let spent = 0;
  for (let run = 0; run < RUNS && spent < ENOUGH_MS; run++) {
    const from = performance.now();
    for (let k = 0; k < PICKS; k++) picker.pick(query);
    const took = performance.now() - from;
    best = Math.min(best, took);
    spent += took;
  }
  return (best * 1e6) / PICKS;
}
