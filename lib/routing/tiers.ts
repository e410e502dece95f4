import { TroupeError } from '../core/errors.ts';
import { type ReplicaView, STANDING } from './strategy.ts';

/** When a higher tier is asked: only when the one before has nothing usable, or in proportion as it loses replicas. */
export interface TierOptions {
  /** Default `failover`. */
  readonly mode?: 'failover' | 'proportional' | undefined;
  /** Overprovisioning factor of `proportional`. Default 1.4 (Envoy): a tier carries everything while 72 % of it is usable. */
  readonly factor?: number | undefined;
}

const DEFAULT_TIER_FACTOR = 1.4;

export function tierOptions(
  options: TierOptions = {},
): Required<{ [K in keyof TierOptions]: NonNullable<TierOptions[K]> }> {
  const { mode = 'failover', factor = DEFAULT_TIER_FACTOR } = options;
  if (mode !== 'failover' && mode !== 'proportional') {
    throw new TroupeError('config_invalid', `tiers.mode: expected "failover" or "proportional"`, {
      data: { field: 'tiers.mode' },
    });
  }
  if (!(factor >= 1 && factor <= 100)) {
    throw new TroupeError('config_invalid', `tiers.factor: expected a number from 1 to 100`, {
      data: { field: 'tiers.factor' },
    });
  }
  return { mode, factor };
}

/**
 * Envoy's spill rule: a tier of which the share h is usable can carry min(1, factor × h); what it cannot carry goes to
 * the next. Where all tiers together cannot carry everything, what they can is scaled up to 1. Shares sum to 1, or all
 * are 0 when nothing is usable.
 */
export function tierShares(usableShare: readonly number[], factor = DEFAULT_TIER_FACTOR): number[] {
  const capacity = usableShare.map((share) => Math.min(1, factor * share));
  const total = Math.min(
    1,
    capacity.reduce((sum, c) => sum + c, 0),
  );
  let left = total;
  return capacity.map((c) => {
    const share = Math.min(c, left);
    left -= share;
    return total === 0 ? 0 : share / total;
  });
}

/** Usable replicas of a tier as a share of all it has; a tier nobody is in has no capacity. */
export function usableShares(view: ReplicaView): number[] {
  const all = Array.from({ length: view.tiers }, () => 0);
  const usable = Array.from({ length: view.tiers }, () => 0);
  for (let i = 0; i < view.n; i++) {
    const tier = view.tier[i]!;
    all[tier] = all[tier]! + 1;
    if (view.standing[i] === STANDING.usable) usable[tier] = usable[tier]! + 1;
  }
  return all.map((count, tier) => (count === 0 ? 0 : usable[tier]! / count));
}
