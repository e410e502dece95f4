import { type RoutingStrategy, columnOf, remapped } from '../strategy.ts';
import { invalid, optionsOf, readNumbers } from '../strategy-options.ts';
import {
  type DeadlineOrder,
  createDeadlineOrder,
  resizeOrder,
  restoreOrder,
  snapshotOrder,
  takeTurn,
} from './deadline-order.ts';

/**
 * In turn, as often as the weight says. Option `order`: `edf` (default; Envoy, gRPC: earliest deadline first with a
 * random start) or `smooth` (nginx: weights 5, 1, 1 give a a b a c a a, the same for every engine).
 */
export function weightedRoundRobin(options?: unknown): RoutingStrategy {
  readNumbers('weighted-round-robin', options, {}, ['order']);
  const order = optionsOf('weighted-round-robin', options)['order'] ?? 'edf';
  if (order === 'edf') return edf;
  if (order === 'smooth') return smooth;
  throw invalid('weighted-round-robin', 'order', 'expected "edf" or "smooth"');
}

const edf: RoutingStrategy<DeadlineOrder> = {
  name: 'weighted-round-robin',
  init: createDeadlineOrder,
  pick: (s, ctx) => takeTurn(s, ctx, ctx.view.weight),
  resize: resizeOrder,
  snapshot: snapshotOrder,
  restore: restoreOrder,
};

const smooth: RoutingStrategy<Float64Array> = {
  name: 'weighted-round-robin',
  ordered: true,
  init: (n) => new Float64Array(n),
  pick(current, { candidates, view }) {
    let total = 0;
    let best = -1;
    for (let k = 0; k < candidates.length; k++) {
      const i = candidates[k]!;
      const weight = view.weight[i]!;
      total += weight;
      current[i] = current[i]! + weight;
      if (best < 0 || current[i] > current[best]!) best = i;
    }
    if (best >= 0) current[best] = current[best]! - total;
    return best;
  },
  resize: (current, remap) => remapped(current, remap, 0),
  snapshot: (current) => Array.from(current),
  restore: (json) => columnOf(json, 0),
};
