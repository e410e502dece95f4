import type { LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { hash32 } from '../../lib/routing/hash.ts';
import { BEHAVIOURS } from './behaviours.ts';
import { type Experiment, type Finding, type Lab, holds } from './lab.ts';
import { withMembers } from './strategy-under-test.ts';
import { VALIDATION } from './validate.ts';

/** A shipped strategy broken on purpose, and the experiment that has to notice. */
interface Mutant {
  readonly strategy: string;
  /** Tells apart those of one strategy. */
  readonly variant?: string;
  readonly how: string;
  readonly caughtBy: string;
  /** `make`: another of the shipped, with other options. */
  break(
    shipped: RoutingStrategy,
    options: Options,
    make: (options: Options) => RoutingStrategy,
  ): RoutingStrategy;
}

type Options = Readonly<Record<string, unknown>>;

const picking =
  (pick: RoutingStrategy['pick']) =>
  (shipped: RoutingStrategy): RoutingStrategy =>
    withMembers(shipped, { pick });

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
    break: (shipped) =>
      withMembers(shipped, {
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
    strategy: 'p2c',
    variant: 'replacement',
    how: 'draws the second with replacement, so it may be the first again',
    caughtBy: 'V20',
    break: picking((_, { candidates, view, rng }) => {
      const draw = (): number => candidates[Math.floor(rng() * candidates.length)]!;
      const [a, b] = [draw(), draw()];
      return view.inflight[a]! <= view.inflight[b]! ? a : b;
    }),
  },
  {
    strategy: 'p2c-peak-ewma',
    how: 'learns nothing',
    caughtBy: 'V32',
    break: (shipped) => withMembers(shipped, { observe: () => {} }),
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
    strategy: 'least-outstanding',
    variant: 'throws',
    how: 'throws on every pick, and the picker stands in for it',
    caughtBy: 'V35',
    break: picking(() => {
      throw new Error('no');
    }),
  },
  {
    strategy: 'ewma-least-outstanding',
    how: 'a failure costs no more than its time',
    caughtBy: 'B7',
    break: (shipped) => withMembers(shipped, { cost: { ...shipped.cost!, penaltyMs: 0 } }),
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
    how: 'reads its reports upside down',
    caughtBy: 'B4',
    break: (_, options, make) =>
      make({ ...options, loadReporter: upsideDown(options['loadReporter'] as LoadReporter) }),
  },
];

/** More than any server reports. */
const MOST_IN_FLIGHT = 100_000;
const MOST_LATENCY_MS = 10_000_000;

/** Who has much to do says that it has little. */
const upsideDown = (reporter: LoadReporter): LoadReporter => ({
  probe: (id, report) =>
    reporter.probe(id, ({ inFlight, latencyMs, at }) =>
      report({ inFlight: MOST_IN_FLIGHT - inFlight, latencyMs: MOST_LATENCY_MS - latencyMs, at }),
    ),
});

/** Each experiment is run once with what is shipped, however many mutants it has to notice. */
const baselines = new Map<string, Promise<readonly string[]>>();

function baselineOf(watched: Experiment, lab: Lab): Promise<readonly string[]> {
  const key = JSON.stringify([watched.id, lab.seeds, lab.scale, lab.slack]);
  const known = baselines.get(key) ?? failing(watched, lab);
  baselines.set(key, known);
  return known;
}

/** The figures of an experiment that do not hold, or what it threw. */
async function failing(
  watched: Experiment,
  { seeds, scale, slack, strategy }: Lab,
): Promise<readonly string[]> {
  try {
    // Without the charts: those of a mutant would be shown as results.
    const findings: readonly Finding[] = await watched.run({ seeds, scale, slack, strategy });
    return findings.filter((f) => !f.ok && f.note === undefined).map((f) => f.what);
  } catch (error) {
    return [String(error)];
  }
}

/** One experiment per mutant: the one that watches fails with it, and holds without it at the same small size. */
export const MUTATION: readonly Experiment[] = MUTANTS.map((mutant) => {
  const watched = [...VALIDATION, ...BEHAVIOURS].find(({ id }) => id === mutant.caughtBy)!;
  return {
    id: mutant.variant === undefined ? mutant.strategy : `${mutant.strategy}/${mutant.variant}`,
    what: `${mutant.how}; ${watched.id} ${watched.what}`,
    async run(lab: Lab): Promise<Finding[]> {
      const make = (options: Options): RoutingStrategy => lab.strategy(mutant.strategy, options);
      const broken: Lab = {
        ...lab,
        strategy: (name, options = {}) =>
          name === mutant.strategy ? mutant.break(make(options), options, make) : lab.strategy(name, options),
      };
      const [baseline, caught] = [await baselineOf(watched, lab), await failing(watched, broken)];
      return [
        holds('baseline', 'all hold', baseline[0] ?? 'all hold', baseline.length === 0),
        holds('caught', 'a figure fails', caught[0] ?? 'nothing', caught.length > 0),
      ];
    },
  };
});
