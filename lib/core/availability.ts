/**
 * Whether a candidate may be asked. `usable`: yes. `suspect`: only when nothing is usable (open breaker, ejected,
 * odd fingerprint). `impossible`: never (not connected). Being busy is load, not availability.
 */
export type Availability = 'usable' | 'suspect' | 'impossible';

const RANK: Readonly<Record<Availability, number>> = { usable: 2, suspect: 1, impossible: 0 };

/** A set of members is as good as its best member; nothing is impossible. */
export function bestOf(members: readonly Availability[]): Availability {
  return members.reduce<Availability>((best, a) => (RANK[a] > RANK[best] ? a : best), 'impossible');
}
