import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import { leastOutstanding } from '../../lib/routing/strategies/least-outstanding.ts';
import {
  createStrategyRegistry,
  STRATEGY_NAMES,
  strategyByName,
} from '../../lib/routing/strategy-registry.ts';
import { benchOf } from './bench.ts';

function refusal(run: () => unknown): TroupeError {
  try {
    run();
  } catch (error) {
    if (error instanceof TroupeError) return error;
  }
  throw new Error('it was not refused');
}

describe('strategy registry', () => {
  it('has the default first and gives each strategy under its name', () => {
    expect(STRATEGY_NAMES[0]).toBe('ewma-least-outstanding');
    expect(STRATEGY_NAMES).toHaveLength(13);
    for (const name of STRATEGY_NAMES.filter((n) => n !== 'prequal'))
      expect(strategyByName(name).name).toBe(name);
  });

  it('names what there is when asked for something else', () => {
    const error = refusal(() => strategyByName('fastest'));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain('"fastest"; there are ewma-least-outstanding, least-outstanding');
    expect(error.data).toMatchObject({ field: 'routing.strategy', known: [...STRATEGY_NAMES] });
  });

  it.each([
    ['ewma-least-outstanding', { tauMs: 0 }, 'routing.tauMs'],
    ['ewma-least-outstanding', { tau: 5 }, 'routing.tau'],
    ['bounded-rendezvous', { epsilon: '1' }, 'routing.epsilon'],
    ['bounded-rendezvous', { minCap: 1.5 }, 'routing.minCap'],
    ['weighted-round-robin', { order: 'fair' }, 'routing.order'],
    ['random', { seed: 1 }, 'routing.seed'],
    ['p2c', { slowStart: { windowMs: -1 } }, 'routing.windowMs'],
    ['p2c', { subset: { size: 2 } }, 'routing.client'],
    ['prequal', {}, 'routing.loadReporter'],
  ])('%s refuses %j, naming the field', (name, options, field) => {
    const error = refusal(() => strategyByName(name, options));
    expect(error.code).toBe('config_invalid');
    expect(error.data).toMatchObject({ field });
  });

  it('wraps a strategy when asked to', () => {
    const strategy = strategyByName('p2c', { slowStart: 5_000, subset: { size: 3, client: 'me' } });
    expect(strategy.name).toBe('slow-start(subset(p2c))');
    expect(benchOf({ strategy, replicas: 5 }).call(1)).toMatch(/^r\d$/);
    expect(strategyByName('p2c', { slowStart: false }).name).toBe('p2c');
  });

  it('takes strategies of users, under names of their own', () => {
    const registry = createStrategyRegistry({ mine: () => ({ ...leastOutstanding(), name: 'mine' }) });
    expect(registry.create('mine').name).toBe('mine');
    expect(registry.names).toContain('mine');
    expect(STRATEGY_NAMES).not.toContain('mine');
    expect(refusal(() => registry.register('p2c', () => leastOutstanding())).code).toBe('config_invalid');
    expect(refusal(() => strategyByName('mine')).code).toBe('config_invalid');
  });
});
