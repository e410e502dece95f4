import type { LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import { STRATEGY_NAMES, strategyByName } from '../../lib/routing/strategy-registry.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { digits } from './lab.ts';
import { type Result, deviation, mean } from './metrics.ts';
import { timePicks } from './pick-time.ts';
import type { Scenario, StrategyMaker } from './scenario.ts';
import { simulate } from './simulate.ts';
import { distribution, svgOf } from './svg.ts';
import { table } from './table.ts';
import { simulateEngine } from './through-engine.ts';
import { UsageError } from './usage-error.ts';
import { WORKLOADS, type Workload } from './workloads.ts';

export interface CompareOptions {
  /** Name of a shipped workload, or one of your own. */
  readonly workload: string | Workload;
  /** Replicas in the pool. */
  readonly replicas: number;
  /** Names of shipped strategies, or strategies of your own by name. */
  readonly strategies:
    | readonly string[]
    | Readonly<Record<string, string | ((reporter: LoadReporter) => RoutingStrategy)>>;
  /** Default 1, 2, 3. */
  readonly seeds?: readonly number[];
  /** Requests of a run; default what the workload says. */
  readonly requests?: number;
  /** Engines that share the replicas, each with its own counts. Default 1. */
  readonly clients?: number;
}

export interface ComparedStrategy {
  readonly name: string;
  /** Over the seeds: mean and standard deviation. Milliseconds. */
  readonly mean: number;
  readonly meanDeviation: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p99Deviation: number;
  readonly p999: number;
  /** Share of the requests answered, and in time where there is a deadline. */
  readonly goodput: number;
  readonly attemptsPerRequest: number;
  readonly hitRate: number;
  readonly imbalance: number;
  readonly maxQueue: number;
  /** Nanoseconds of one pick, measured on this machine; not part of the hashes. */
  readonly pickNs: number;
  /** One hash of the event log per seed. */
  readonly logHashes: readonly string[];
}

export interface Comparison {
  readonly strategies: readonly ComparedStrategy[];
  readonly table: string;
  /** Cumulative distribution of the latencies. */
  readonly svg: string;
  /** In words: which, by how much, and what speaks against it. */
  readonly recommendation: string;
}

/** Runs the same arrivals and sizes through each strategy. Throws `UsageError` for what makes no sense. */
export function compare(options: CompareOptions): Comparison {
  const question = questionOf(options);
  const answers = question.contenders.map((contender) =>
    question.seeds.map((seed) => simulate(contender.scenario, seed)),
  );
  return answerOf(question, answers);
}

/**
 * As `compare`, with the whole engine between the requests and the servers: slower by a thousand times or so, and what retries,
 * breaker and queue of the engine add can be seen. `settings` are those of a server in the configuration; default: routing only.
 */
export async function compareEngines(
  options: Omit<CompareOptions, 'clients'>,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Comparison> {
  const question = questionOf(options);
  const answers: Result[][] = [];
  for (const { scenario } of question.contenders) {
    const results: Result[] = [];
    for (const seed of question.seeds) results.push(await simulateEngine(scenario, seed, settings));
    answers.push(results);
  }
  return answerOf(question, answers);
}

interface Question {
  readonly title: string;
  readonly replicas: number;
  readonly seeds: readonly number[];
  readonly contenders: readonly {
    readonly name: string;
    readonly strategy: StrategyMaker;
    readonly scenario: Scenario;
  }[];
}

function questionOf(options: CompareOptions): Question {
  const { replicas, seeds = [1, 2, 3], clients, requests } = options;
  if (!Number.isInteger(replicas) || replicas < 1) {
    throw new UsageError(`--replicas must be a whole number of at least 1, not ${replicas}`);
  }
  const workload = workloadOf(options.workload);
  const base = workload.of(replicas);
  const name = typeof options.workload === 'string' ? options.workload : 'own workload';
  return {
    title: `${name}, ${replicas} replicas: ${workload.about}`,
    replicas,
    seeds,
    contenders: Object.entries(makersOf(options.strategies)).map(([label, strategy]) => ({
      name: label,
      strategy,
      scenario: {
        ...base,
        ...(requests !== undefined && { requests }),
        ...(clients !== undefined && { clients }),
        strategy,
      },
    })),
  };
}

function answerOf(
  { title, replicas, contenders }: Question,
  answers: readonly (readonly Result[])[],
): Comparison {
  const rows = contenders.map(({ name, strategy }, i) =>
    summary(name, answers[i]!, timePicks(strategy, replicas)),
  );
  const lines = contenders.map(({ name }, i) => distribution(name, answers[i]![0]!.latencies));
  return {
    strategies: rows,
    table: tableOf(rows),
    svg: svgOf({ title, x: 'latency, ms', y: 'share answered', logX: true, lines }),
    recommendation: recommend(rows),
  };
}

function workloadOf(workload: string | Workload): Workload {
  if (typeof workload !== 'string') return workload;
  const found = Object.hasOwn(WORKLOADS, workload) ? WORKLOADS[workload] : undefined;
  if (found === undefined) {
    throw new UsageError(
      `there is no workload "${workload}"; there are ${Object.keys(WORKLOADS).join(', ')}`,
    );
  }
  return found;
}

export function makersOf(strategies: CompareOptions['strategies']): Record<string, StrategyMaker> {
  const given = Array.isArray(strategies)
    ? Object.fromEntries((strategies as readonly string[]).map((name) => [name, name]))
    : (strategies as Exclude<CompareOptions['strategies'], readonly string[]>);
  const makers = Object.fromEntries(
    Object.entries(given).map(([label, by]): [string, StrategyMaker] => {
      if (typeof by !== 'string') return [label, by];
      if (!(STRATEGY_NAMES as readonly string[]).includes(by)) {
        throw new UsageError(`there is no strategy "${by}"; there are ${STRATEGY_NAMES.join(', ')}`);
      }
      return [label, (reporter) => strategyByName(by, by === 'prequal' ? { loadReporter: reporter } : {})];
    }),
  );
  if (Object.keys(makers).length === 0) throw new UsageError('--strategies names no strategy');
  return makers;
}

function summary(name: string, results: readonly Result[], pickNs: number): ComparedStrategy {
  const over = (of: (r: Result) => number): number => mean(results.map(of));
  return {
    name,
    mean: over((r) => r.mean),
    meanDeviation: deviation(results.map((r) => r.mean)),
    p50: over((r) => r.p50),
    p90: over((r) => r.p90),
    p99: over((r) => r.p99),
    p99Deviation: deviation(results.map((r) => r.p99)),
    p999: over((r) => r.p999),
    goodput: over((r) => r.goodput),
    attemptsPerRequest: over((r) => r.attemptsPerRequest),
    hitRate: over((r) => r.hitRate),
    imbalance: over((r) => r.imbalance),
    maxQueue: Math.max(...results.map((r) => r.maxQueue)),
    pickNs,
    logHashes: results.map((r) => r.logHash),
  };
}

function tableOf(rows: readonly ComparedStrategy[]): string {
  const head = [
    'strategy',
    'mean',
    '±',
    'p50',
    'p90',
    'p99',
    '±',
    'p99.9',
    'good %',
    'att/req',
    'hit %',
    'busiest',
    'queue',
    'pick ns',
    'log',
  ];
  return table(
    head,
    rows.map((r) => [
      r.name,
      digits(r.mean),
      digits(r.meanDeviation),
      digits(r.p50),
      digits(r.p90),
      digits(r.p99),
      digits(r.p99Deviation),
      digits(r.p999),
      (r.goodput * 100).toFixed(2),
      r.attemptsPerRequest.toFixed(3),
      Number.isNaN(r.hitRate) ? '–' : (r.hitRate * 100).toFixed(1),
      r.imbalance.toFixed(2),
      String(r.maxQueue),
      r.pickNs.toFixed(0),
      r.logHashes[0]!,
    ]),
  );
}

/** Errors count first: an answer that does not come is not fast. */
const GOOD_ENOUGH = 0.001;

function recommend(rows: readonly ComparedStrategy[]): string {
  const most = Math.max(...rows.map((r) => r.goodput));
  const good = rows.filter((r) => r.goodput >= most - GOOD_ENOUGH).sort((a, b) => a.p99 - b.p99);
  const best = good[0]!;
  const parts: string[] = [];
  const rivals = good
    .slice(1)
    .filter((r) => r.p99 - best.p99 <= 2 * Math.hypot(r.p99Deviation, best.p99Deviation));
  if (rows.length === 1)
    return `Only ${best.name} was run: p99 ${digits(best.p99)} ms, mean ${digits(best.mean)} ms.`;
  parts.push(
    `Use ${best.name}: p99 ${digits(best.p99)} ms, mean ${digits(best.mean)} ms, ${(best.goodput * 100).toFixed(2)} % answered in time.`,
  );
  if (rivals.length > 0) {
    parts.push(
      `Within two standard deviations of it, so no worse as far as this run can tell: ${rivals.map((r) => r.name).join(', ')}.`,
    );
  }
  const last = [...rows].sort((a, b) => b.p99 - a.p99)[0]!;
  if (last !== best) parts.push(`${last.name} has a p99 ${(last.p99 / best.p99).toFixed(1)} times as high.`);
  const losing = rows.filter((r) => r.goodput < most - GOOD_ENOUGH);
  if (losing.length > 0) {
    parts.push(
      `Passed over because fewer requests were answered: ${losing.map((r) => `${r.name} (${(r.goodput * 100).toFixed(2)} %)`).join(', ')}.`,
    );
  }
  const hits = [...rows].sort((a, b) => b.hitRate - a.hitRate)[0]!;
  if (!Number.isNaN(hits.hitRate) && hits !== best) {
    parts.push(
      `Most cache hits has ${hits.name} (${(hits.hitRate * 100).toFixed(1)} %), if a miss costs others more than it costs the server.`,
    );
  }
  return parts.join(' ');
}
