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
import { recommend } from './recommend.ts';
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
  /** Requests that ended so, over the seeds. */
  readonly failed: number;
  readonly late: number;
  readonly rejected: number;
  readonly attemptsPerRequest: number;
  readonly hitRate: number;
  readonly imbalance: number;
  readonly maxQueue: number;
  /** Slot time of attempts that gave nobody an answer, as a share of `busyMs`. */
  readonly wasted: number;
  /** Slot time of all servers, milliseconds a run. */
  readonly busyMs: number;
  /** The worst of the seeds: |L − λW| / λW. */
  readonly littleError: number;
  /** Mean latency of the last quarter of a run over that of the first; far above 1: it cannot keep up. */
  readonly drift: number;
  /** Nanoseconds of one pick, measured on this machine; not part of the hashes. */
  readonly pickNs: number;
  /** One hash of the event log per seed. */
  readonly logHashes: readonly string[];
}

export interface Comparison {
  readonly title: string;
  readonly seeds: readonly number[];
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
  readonly hasDeadline: boolean;
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
  for (const [name, value] of Object.entries({ replicas, requests, clients })) {
    if (value === undefined && name !== 'replicas') continue;
    if (!Number.isInteger(value) || value! < 1)
      throw new UsageError(`--${name} must be a whole number of at least 1, not ${value}`);
  }
  if (seeds.length === 0 || !seeds.every(Number.isInteger))
    throw new UsageError(`the seeds must be whole numbers, at least one, not [${seeds.join(', ')}]`);
  const workload = workloadOf(options.workload);
  const base = workload.of(replicas);
  const name = typeof options.workload === 'string' ? `${options.workload}, ` : '';
  return {
    title: `${name}${replicas} replicas: ${workload.about}`,
    hasDeadline: base.deadlineMs !== undefined,
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
  { title, hasDeadline, replicas, seeds, contenders }: Question,
  answers: readonly (readonly Result[])[],
): Comparison {
  const rows = contenders.map(({ name, strategy }, i) =>
    summary(name, answers[i]!, timePicks(strategy, replicas)),
  );
  const lines = contenders.map(({ name }, i) => distribution(name, answers[i]![0]!.latencies));
  return {
    title,
    seeds,
    strategies: rows,
    table: tableOf(rows),
    svg: svgOf({ title, x: 'latency, ms', y: 'share answered', logX: true, lines }),
    recommendation: recommend(rows, hasDeadline),
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
      const name = by.trim();
      if (!(STRATEGY_NAMES as readonly string[]).includes(name)) {
        throw new UsageError(`there is no strategy "${name}"; there are ${STRATEGY_NAMES.join(', ')}`);
      }
      return [
        label.trim(),
        (reporter) => strategyByName(name, name === 'prequal' ? { loadReporter: reporter } : {}),
      ];
    }),
  );
  if (Object.keys(makers).length === 0) throw new UsageError('--strategies names no strategy');
  return makers;
}

function summary(name: string, results: readonly Result[], pickNs: number): ComparedStrategy {
  const over = (of: (r: Result) => number): number => mean(results.map(of));
  const sum = (of: (r: Result) => number): number => results.reduce((all, r) => all + of(r), 0);
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
    failed: sum((r) => r.failed),
    late: sum((r) => r.late),
    rejected: sum((r) => r.rejected),
    attemptsPerRequest: over((r) => r.attemptsPerRequest),
    hitRate: over((r) => r.hitRate),
    imbalance: over((r) => r.imbalance),
    maxQueue: Math.max(...results.map((r) => r.maxQueue)),
    wasted: over((r) => r.wasted),
    busyMs: over((r) => r.busyMs),
    littleError: Math.max(...results.map((r) => r.littleError)),
    drift: over((r) => r.drift),
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
    'wasted %',
    'drift',
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
      (r.wasted * 100).toFixed(1),
      Number.isNaN(r.drift) ? '–' : r.drift.toFixed(2),
      Number.isNaN(r.hitRate) ? '–' : (r.hitRate * 100).toFixed(1),
      r.imbalance.toFixed(2),
      String(r.maxQueue),
      r.pickNs.toFixed(0),
      r.logHashes[0]!,
    ]),
  );
}
