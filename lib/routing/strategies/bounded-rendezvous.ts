import { MASK, type ReplicaView, type RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';
import { pickLeastOutstanding } from './least-outstanding.ts';
import { type IdHashes, idHashes, scoreOf } from './rendezvous.ts';

/**
 * Rendezvous with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018; as HAProxy's hash-balance-factor on in-flight
 * requests): the first choice of the key that has less than its cap in flight. Options: `epsilon` 0.25, how much above
 * the average a replica may be loaded; `minCap` 4, below which no cap falls: with few requests in flight a cap of 1
 * would scatter the keys. Requests without a key go to the least loaded.
 */
export function boundedRendezvous(options?: unknown): RoutingStrategy<IdHashes> {
  const { epsilon, minCap } = readNumbers('bounded-rendezvous', options, {
    epsilon: { value: 0.25, min: 0.001, max: 100 },
    minCap: { value: 4, min: 1, max: 1_000_000, whole: true },
  });
  return {
    name: 'bounded-rendezvous',
    keyed: true,
    init: (_, ids) => idHashes(ids),
    pick(hashes, ctx) {
      if (ctx.key === undefined) return pickLeastOutstanding(ctx);
      const { candidates, view, key } = ctx;
      const perWeight = loadPerWeight(view, epsilon);
      let best = -1;
      let highest = -Infinity;
      for (let k = 0; k < candidates.length; k++) {
        const i = candidates[k]!;
        if (view.inflight[i]! >= Math.max(minCap, Math.ceil(perWeight * view.weight[i]!))) continue;
        const score = scoreOf(hashes, i, key, view);
        if (score > highest || (score === highest && view.id[i]! < view.id[best]!)) {
          highest = score;
          best = i;
        }
      }
      // Those below their cap may have no free slot.
      return best < 0 ? pickLeastOutstanding(ctx) : best;
    },
    resize: (_, __, ids) => idHashes(ids),
  };
}

/** (1 + ε) × (requests in flight, this one included) per unit of weight, over all that may be asked, full ones too. */
function loadPerWeight(view: ReplicaView, epsilon: number): number {
  let total = 1;
  let weights = 0;
  for (let i = 0; i < view.n; i++) {
    if (view.mask[i] === MASK.out) continue;
    total += view.inflight[i]!;
    weights += view.weight[i]!;
  }
  return ((1 + epsilon) * total) / weights;
}
