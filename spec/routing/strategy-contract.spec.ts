import { describe, expect, it } from '@jest/globals';
import { type RoutingStrategy, STANDING } from '../../lib/routing/strategy.ts';
import { STRATEGY_NAMES, strategyByName } from '../../lib/routing/strategy-registry.ts';
import type { LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import { withSlowStart } from '../../lib/routing/strategies/with-slow-start.ts';
import { withSubset } from '../../lib/routing/strategies/with-subset.ts';
import { withTiers } from '../../lib/routing/strategies/with-tiers.ts';
import { strategyContract } from '../contract/strategy-contract.ts';
import { benchOf } from './bench.ts';

/** Reports at once and always the same: what prequal needs to be pure. */
const reporter: LoadReporter = { probe: (_, report) => report({ inFlight: 1, latencyMs: 10, at: 1_000 }) };

function make(name: string): RoutingStrategy {
  return strategyByName(name, name === 'prequal' ? { loadReporter: reporter, maxAgeMs: 600_000 } : {});
}

for (const name of STRATEGY_NAMES) {
  const { keyed = false, ordered = false } = make(name);
  strategyContract(name, () => make(name), { keyed, ordered });
}

const wrappers = {
  'withSlowStart(p2c)': () => withSlowStart(make('p2c')),
  'withTiers(ewma-least-outstanding)': () => withTiers(make('ewma-least-outstanding')),
  'withTiers(round-robin), proportional': () => withTiers(make('round-robin'), { mode: 'proportional' }),
  'withSubset(least-outstanding), size 9': () =>
    withSubset(make('least-outstanding'), { size: 9, client: 'x' }),
  'all three around prequal': () =>
    withTiers(withSlowStart(withSubset(make('prequal'), { size: 9, client: 'x' }))),
};
for (const [name, wrapped] of Object.entries(wrappers)) {
  strategyContract(name, wrapped, { keyed: false, ordered: false });
}

// What a user writes, as the doc of RoutingStrategy shows it.
const nearest: RoutingStrategy<null> = {
  name: 'nearest',
  ordered: true,
  init: () => null,
  pick: (_, { candidates, view }) =>
    candidates.find((i) => view.standing[i] === STANDING.usable) ?? candidates[0]!,
};
strategyContract('one of fifteen lines', () => nearest, { keyed: false, ordered: true });

describe('the contract itself', () => {
  it('notices a strategy that picks what is masked', () => {
    const bench = benchOf({
      strategy: { name: 'stubborn', init: () => null, pick: () => 0 },
      replicas: ['a', 'b'],
    });
    bench.replicas[0]!.availability = 'impossible';
    expect(bench.take().id).toBe('b');
    expect(bench.faults).toHaveLength(1);
    expect(bench.faults[0]).toContain('"stubborn" picked 0, which is no candidate');
  });
});
