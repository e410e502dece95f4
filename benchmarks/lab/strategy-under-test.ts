import type { RoutingStrategy } from '../../lib/routing/strategy.ts';

/** Every member of a strategy; a new one in the contract is an error here until it is named. */
const MEMBERS: { readonly [K in keyof Required<RoutingStrategy>]: true } = {
  name: true,
  keyed: true,
  ordered: true,
  cost: true,
  rewrap: true,
  init: true,
  pick: true,
  observe: true,
  resize: true,
  snapshot: true,
  restore: true,
};

/**
 * The same strategy with some members replaced. Methods stay bound to the strategy they come from: a spread would lose those
 * of a class, and its private fields with them.
 */
export function withMembers(strategy: RoutingStrategy, members: Partial<RoutingStrategy>): RoutingStrategy {
  const made: Record<string, unknown> = {};
  for (const name of Object.keys(MEMBERS) as (keyof RoutingStrategy)[]) {
    const member: unknown = strategy[name];
    if (member === undefined) continue;
    made[name] = typeof member === 'function' ? (member.bind(strategy) as unknown) : member;
  }
  return { ...made, ...members } as unknown as RoutingStrategy;
}

/**
 * The strategy as an experiment runs it: asked for keyed requests too. The picker would ask `rendezvous-p2c` in place of one
 * that takes no notice of keys, and all such strategies would look alike.
 */
export function underTest(strategy: RoutingStrategy): RoutingStrategy {
  return strategy.keyed === true ? strategy : withMembers(strategy, { keyed: true });
}
