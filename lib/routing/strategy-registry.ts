import { TroupeError } from '../core/errors.ts';
import { type Json, isJson } from '../core/json-rpc.ts';
import { readNumbers } from './strategy-options.ts';
import { boundedRendezvous } from './strategies/bounded-rendezvous.ts';
import { ewmaLeastOutstanding } from './strategies/ewma-least-outstanding.ts';
import { leastOutstanding } from './strategies/least-outstanding.ts';
import { p2c } from './strategies/p2c.ts';
import { p2cPeakEwma } from './strategies/p2c-peak-ewma.ts';
import { prequal } from './strategies/prequal.ts';
import { priorityFailover } from './strategies/priority-failover.ts';
import { random } from './strategies/random.ts';
import { rendezvous } from './strategies/rendezvous.ts';
import { rendezvousP2c } from './strategies/rendezvous-p2c.ts';
import { roundRobin } from './strategies/round-robin.ts';
import { weightedLeastOutstanding } from './strategies/weighted-least-outstanding.ts';
import { weightedRoundRobin } from './strategies/weighted-round-robin.ts';
import { withSlowStart } from './strategies/with-slow-start.ts';
import { type SubsetOptions, withSubset } from './strategies/with-subset.ts';
import type { RoutingStrategy } from './strategy.ts';

/** Makes a strategy from its options; throws `config_invalid` for options it does not take. */
export type StrategyFactory = (options?: unknown) => RoutingStrategy;

const SHIPPED = {
  'ewma-least-outstanding': ewmaLeastOutstanding,
  'least-outstanding': leastOutstanding,
  'weighted-least-outstanding': weightedLeastOutstanding,
  p2c,
  'p2c-peak-ewma': p2cPeakEwma,
  'round-robin': roundRobin,
  'weighted-round-robin': weightedRoundRobin,
  random,
  rendezvous,
  'rendezvous-p2c': rendezvousP2c,
  'bounded-rendezvous': boundedRendezvous,
  'priority-failover': priorityFailover,
  prequal,
} as const satisfies Record<string, StrategyFactory>;

export type StrategyName = keyof typeof SHIPPED;

/** The strategies that come with the engine, the default first. */
export const STRATEGY_NAMES = Object.keys(SHIPPED) as readonly StrategyName[];

export interface StrategyRegistry {
  readonly names: readonly string[];
  /** Adds a strategy under a new name. Throws `config_invalid` where the name is taken. */
  register(name: string, factory: StrategyFactory): void;
  /**
   * Makes a strategy. Beside its own options each takes `slowStart` (milliseconds, or `SlowStartOptions`) and `subset`
   * (`SubsetOptions`). Throws `config_invalid` naming what there is when the name is not known.
   */
  create(name: string, options?: Json): RoutingStrategy;
}

export function createStrategyRegistry(
  own: Readonly<Record<string, StrategyFactory>> = {},
): StrategyRegistry {
  const factories = new Map<string, StrategyFactory>(Object.entries(SHIPPED));
  const registry: StrategyRegistry = {
    get names() {
      return [...factories.keys()];
    },
    register(name, factory) {
      if (factories.has(name)) {
        throw new TroupeError(
          'config_invalid',
          `routing: there is already a strategy "${name}"; choose another name`,
          {
            data: { field: 'routing.strategy', strategy: name },
          },
        );
      }
      factories.set(name, factory);
    },
    create(name, options = {}) {
      const factory = factories.get(name);
      if (factory === undefined) {
        const known = [...factories.keys()].join(', ');
        throw new TroupeError('config_invalid', `routing: unknown strategy "${name}"; there are ${known}`, {
          data: { field: 'routing.strategy', known: [...factories.keys()] },
        });
      }
      const { slowStart, subset, ...rest } = options;
      let strategy = factory(rest);
      if (subset !== undefined) strategy = withSubset(strategy, subset as SubsetOptions);
      if (slowStart !== undefined && slowStart !== false) {
        strategy = withSlowStart(strategy, isJson(slowStart) ? slowStart : { windowMs: slowStart as number });
      }
      return strategy;
    },
  };
  for (const [name, factory] of Object.entries(own)) registry.register(name, factory);
  return registry;
}

/** A shipped strategy. Use a registry of your own to add to them. */
export function strategyByName(name: string, options?: Json): RoutingStrategy {
  return shipped.create(name, options);
}

/** A shipped strategy by its name, or one of the host's own, which takes `slowStart` and `subset` but no other options. */
export function strategyOf(strategy: string | RoutingStrategy, options?: Json): RoutingStrategy {
  if (typeof strategy === 'string') return strategyByName(strategy, options);
  const { name } = strategy;
  const factory: StrategyFactory = (rest) => {
    readNumbers(name, rest, {});
    return strategy;
  };
  return createStrategyRegistry({ [name]: factory }).create(name, options);
}

const shipped = createStrategyRegistry();
