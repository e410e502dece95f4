import type { LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { hash32 } from '../../lib/routing/hash.ts';
import { BEHAVIOURS } from './behaviours.ts';
import { type Experiment, type Finding, type Lab, holds } from './lab.ts';
import { VALIDATION } from './validate.ts';

/** A shipped strategy broken on purpose, and the experiment that has to notice. */
interface Mutant {
  readonly strategy: string;
  readonly how: string;
  readonly caughtBy: string;
  break(shipped: RoutingStrategy, options: Readonly<Record<string, unknown>>): RoutingStrategy;
}

const picking =
  (pick: RoutingStrategy['pick']) =>
  (shipped: RoutingStrategy): RoutingStrategy => ({ ...shipped, pick });

const MUTANTS: readonly Mutant[] = [
  {
    strategy: 'random',
    how: 'low indexes are drawn more often',
    caughtBy: 'V11',
    break: picking((_, { candidates, rng }) => candidates[Math.floor(rng() ** 1.3 * candidates.length)]!),
  },
  {
    strategy: 'round-robin',
    how: 'draws instead of taking turns',
    caughtBy: 'V12',
    break: picking((_, { candidates, rng }) => candidates[Math.floor(rng() * candidates.length)]!),
  },
  {
    strategy: 'weighted-round-robin',
    how: 'all weights are 1',
    caughtBy: 'V31',
    break: (shipped) => ({
      ...shipped,
      pick: (s, ctx) =>
        shipped.pick(s, {
          ...ctx,
          view: Object.create(ctx.view, {
            weight: { value: ctx.view.weight.map(() => 1) },
          }) as typeof ctx.view,
        }),
    }),
  },
  {
    strategy: 'p2c',
    how: 'the second choice is not looked at',
    caughtBy: 'V14',
    break: picking((_, { candidates, rng }) => candidates[Math.floor(rng() * candidates.length)]!),
  },
  {
    strategy: 'p2c-peak-ewma',
    how: 'learns nothing',
    caughtBy: 'V32',
    break: (shipped) => ({ ...shipped, observe: () => {} }),
  },
  {
    strategy: 'least-outstanding',
    how: 'ties go to the first',
    caughtBy: 'V35',
    break: picking((_, { candidates, view }) =>
      candidates.reduce((best, i) => (view.inflight[i]! < view.inflight[best]! ? i : best), candidates[0]!),
    ),
  },
  {
    strategy: 'ewma-least-outstanding',
    how: 'a failure costs no more than its time',
    caughtBy: 'B7',
    break: (shipped) => ({ ...shipped, cost: { ...shipped.cost!, penaltyMs: 0 } }),
  },
  {
    strategy: 'weighted-least-outstanding',
    how: 'multiplies by the weight',
    caughtBy: 'B2',
    break: picking((_, { candidates, view }) => {
      const load = (i: number): number => (view.inflight[i]! + 1) * view.weight[i]!;
      return candidates.reduce((best, i) => (load(i) < load(best) ? i : best), candidates[0]!);
    }),
  },
  {
    strategy: 'rendezvous',
    how: 'the key modulo the number of replicas',
    caughtBy: 'V30',
    break: picking((_, { candidates, key = 0 }) => candidates[key % candidates.length]!),
  },
  {
    strategy: 'bounded-rendezvous',
    how: 'no bound',
    caughtBy: 'V29',
    break: picking((_, { candidates, view, key = 0 }) => {
      const score = (i: number): number => hash32(`${view.id[i]!}/${key}`);
      return candidates.reduce((best, i) => (score(i) > score(best) ? i : best), candidates[0]!);
    }),
  },
  {
    strategy: 'rendezvous-p2c',
    how: 'always the first choice',
    caughtBy: 'B12',
    break: picking((_, { candidates, view, key = 0 }) => {
      const score = (i: number): number => hash32(`${view.id[i]!}/${key}`);
      return candidates.reduce((best, i) => (score(i) > score(best) ? i : best), candidates[0]!);
    }),
  },
  {
    strategy: 'priority-failover',
    how: 'the last of a tier before the first tier',
    caughtBy: 'V36',
    break: picking((_, { candidates }) => candidates.at(-1)!),
  },
  {
    strategy: 'prequal',
    how: 'prefers the highest reports',
    caughtBy: 'B4',
    break: (_, options) => {
      return upsideDown(options['loadReporter'] as LoadReporter);
    },
  },
];

/** Asks every candidate and takes the one that says it is slowest. */
const upsideDown = (reporter: LoadReporter): RoutingStrategy<Map<string, number>> => ({
  name: 'prequal',
  init: () => new Map(),
  pick(known, { candidates, view, rng }) {
    const asked = [0, 1, 2].map(() => candidates[Math.floor(rng() * candidates.length)]!);
    for (const i of asked)
      reporter.probe(view.id[i]!, ({ inFlight }) => void known.set(view.id[i]!, inFlight));
    return asked.reduce((worst, i) =>
      (known.get(view.id[i]!) ?? 0) > (known.get(view.id[worst]!) ?? 0) ? i : worst,
    );
  },
});

/** One experiment per mutant: that the experiment it is for fails with it. (That it passes without it is `validate` and `behaviours`.) */
export const MUTATION: readonly Experiment[] = MUTANTS.map((mutant) => {
  const watched = [...VALIDATION, ...BEHAVIOURS].find(({ id }) => id === mutant.caughtBy)!;
  return {
    id: mutant.strategy,
    what: `${mutant.how}; ${watched.id} ${watched.what}`,
    async run(lab: Lab): Promise<Finding[]> {
      const broken: Lab = {
        ...lab,
        strategy: (name, options = {}) =>
          name === mutant.strategy
            ? mutant.break(lab.strategy(name, options), options)
            : lab.strategy(name, options),
      };
      let caught: string[];
      try {
        caught = (await watched.run(broken)).filter((f) => !f.ok && f.note === undefined).map((f) => f.what);
      } catch (error) {
        caught = [String(error)];
      }
      return [
        holds('caught', 'a figure fails', caught.length === 0 ? 'nothing' : caught[0]!, caught.length > 0),
      ];
    },
  };
});
