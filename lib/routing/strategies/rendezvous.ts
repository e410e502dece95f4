import { hash32, score32 } from '../hash.ts';
import type { PickCtx, ReplicaView, RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';

/** Hashes of the replica ids; they name the replica, not its process, so that keys stay over restarts. */
export type IdHashes = Uint32Array;

export function idHashes(ids: readonly string[]): IdHashes {
  return Uint32Array.from(ids, (id) => hash32(id));
}

const TWO_32 = 4_294_967_296;

/**
 * How much replica `i` wants the key: the highest score owns it. Weighted: −w / ln h makes the share of keys
 * proportional to the weight; the logarithm is saved where all weights are alike.
 */
export function scoreOf(hashes: IdHashes, i: number, key: number, view: ReplicaView): number {
  const h = score32(key, hashes[i]!);
  return view.weighted ? -view.weight[i]! / Math.log((h + 0.5) / TWO_32) : h;
}

/** A request without a key is given a random one: then every replica is as likely as its weight. */
export function keyOf(ctx: PickCtx): number {
  return ctx.key ?? Math.floor(ctx.rng() * TWO_32);
}

/**
 * Highest random weight: one key always goes to the same replica; when that one is masked, its keys alone move, each to
 * its own second choice. For state that lives in a replica; it does not look at load, so a hot key makes a hot replica.
 */
export function rendezvous(options?: unknown): RoutingStrategy<IdHashes> {
  readNumbers('rendezvous', options, {});
  return {
    name: 'rendezvous',
    keyed: true,
    init: (_, ids) => idHashes(ids),
    pick(hashes, ctx) {
      const { candidates, view } = ctx;
      const key = keyOf(ctx);
      let best = candidates[0]!;
      let highest = scoreOf(hashes, best, key, view);
      for (let k = 1; k < candidates.length; k++) {
        const i = candidates[k]!;
        const score = scoreOf(hashes, i, key, view);
        if (score > highest || (score === highest && view.id[i]! < view.id[best]!)) {
          highest = score;
          best = i;
        }
      }
      return best;
    },
    resize: (_, __, ids) => idHashes(ids),
  };
}
