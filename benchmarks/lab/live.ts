import { cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../../lib/core/ports.ts';
import { createEngine } from '../../lib/engine/engine.ts';
import { strategyByName } from '../../lib/routing/strategy-registry.ts';
import { Kernel } from './kernel.ts';
import { type Finding, digits, holds, near } from './lab.ts';
import { type Result, mean, quantile } from './metrics.ts';
import type { Arrival } from './scenario.ts';
import { simulate } from './simulate.ts';
import { exponential, poisson } from './sizes.ts';

/** At most 8 processes, work of 20 ms and more, at most 500 calls a second: else two cores are what is measured (§4.5). */
const SPEEDS = [1, 1, 1, 1, 0.25] as const;
const MEAN_MS = 40;
const RHO = 0.6;
const STRATEGIES = ['ewma-least-outstanding', 'least-outstanding', 'round-robin'] as const;

/** A run counts only below both. */
const MAX_CPU = 0.7;
const MAX_LAG_MS = 5;

export interface LiveOptions {
  readonly requests: number;
  /** Clean runs wanted of each strategy … */
  readonly repetitions: number;
  /** … out of this many. */
  readonly tries: number;
  readonly say: (line: string) => void;
}

interface Measured {
  readonly mean: number;
  readonly p90: number;
  readonly p99: number;
  readonly cpu: number;
  readonly lagMs: number;
}

/** A figure over the clean runs. */
export interface Range {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One strategy, in milliseconds; simulated is the median over the same seeds. */
export interface LiveRow {
  readonly name: string;
  readonly runs: number;
  readonly simulated: Readonly<Record<Column, number>>;
  readonly measured: Readonly<Record<Column, Range>>;
  /** Busy share of the machine, 0 … 1. */
  readonly cpu: Range;
  /** p99 of what our event loop came too late. */
  readonly lagMs: Range;
}

export interface LiveOutcome {
  readonly findings: readonly Finding[];
  readonly rows: readonly LiveRow[];
  /** Every strategy had its clean runs. */
  readonly isComplete: boolean;
}

const COLUMNS = ['mean', 'p90', 'p99'] as const;
type Column = (typeof COLUMNS)[number];

/** By how much they may differ (§4.5). Means and their order are judged; tails are shown: three runs say little about them. */
const BOUNDS: Readonly<Record<Column, number>> = { mean: 0.1, p90: 0.1, p99: 0.2 };

/** The same trace through real processes and through the simulator. */
export async function live({ requests, repetitions, tries, say }: LiveOptions): Promise<LiveOutcome> {
  const trace = traceOf(requests);
  const clean = new Map<string, Measured[]>(STRATEGIES.map((name) => [name, []]));
  // Interleaved: what changes on the machine meanwhile meets all strategies.
  for (let round = 0; round < tries; round++) {
    for (const name of STRATEGIES) {
      const runs = clean.get(name)!;
      if (runs.length >= repetitions) continue;
      const measured = await measure(name, trace, runs.length + 1);
      const ok = measured.cpu <= MAX_CPU && measured.lagMs <= MAX_LAG_MS;
      say(
        `${name}: mean ${digits(measured.mean)} ms, p99 ${digits(measured.p99)} ms; CPU ${(measured.cpu * 100).toFixed(0)} %, lag p99 ${measured.lagMs.toFixed(1)} ms${ok ? '' : ': discarded, the machine is loaded'}`,
      );
      if (ok) runs.push(measured);
    }
  }
  const missing = STRATEGIES.filter((name) => clean.get(name)!.length < repetitions);
  if (missing.length > 0) {
    const why = `too few of ${missing.join(', ')}: the machine is loaded`;
    return {
      findings: [holds('clean runs', `${repetitions} each`, why, false)],
      rows: [],
      isComplete: false,
    };
  }
  const rows = STRATEGIES.map((name) => rowOf(name, trace, clean.get(name)!));
  return { findings: judged(rows), rows, isComplete: true };
}

function rowOf(name: string, trace: readonly Arrival[], runs: readonly Measured[]): LiveRow {
  // Chance is the same as in the clean runs: where round robin begins alone decides a quarter of its mean.
  const results = runs.map((_, i): Result =>
    simulate(
      { servers: SPEEDS.map((speed) => ({ speed })), strategy: () => strategyByName(name), trace, warmUp: 0 },
      i + 1,
    ),
  );
  const columns = <T>(of: (column: Column) => T): Record<Column, T> => ({
    mean: of('mean'),
    p90: of('p90'),
    p99: of('p99'),
  });
  return {
    name,
    runs: runs.length,
    simulated: columns((column) => rangeOf(results.map((r) => r[column])).median),
    measured: columns((column) => rangeOf(runs.map((m) => m[column]))),
    cpu: rangeOf(runs.map(({ cpu }) => cpu)),
    lagMs: rangeOf(runs.map(({ lagMs }) => lagMs)),
  };
}

function rangeOf(values: readonly number[]): Range {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), min: sorted[0]!, max: sorted.at(-1)! };
}

function judged(rows: readonly LiveRow[]): Finding[] {
  const order = (of: (row: LiveRow) => number): string =>
    [...rows]
      .sort((a, b) => of(a) - of(b))
      .map(({ name }) => name)
      .join(' < ');
  const [inTheory, inFact] = [order((r) => r.simulated.mean), order((r) => r.measured.mean.median)];
  return [
    ...rows.map((r) => near(`${r.name} mean`, r.simulated.mean, r.measured.mean.median, BOUNDS.mean)),
    holds('order of the means', inTheory, inFact, inTheory === inFact),
  ];
}

/** As Markdown: simulated beside measured, with what the machine was doing. */
export function liveTable(rows: readonly LiveRow[]): string {
  const head = [
    'strategy',
    ...COLUMNS.flatMap((c) => [`${c} simulated`, `${c} measured (min–max)`, 'off, of allowed']),
  ];
  const lines = rows.map((row) => [
    row.name,
    ...COLUMNS.flatMap((column) => {
      const [simulated, { median, min, max }] = [row.simulated[column], row.measured[column]];
      const off = `${((median / simulated - 1) * 100).toFixed(1)} of ±${BOUNDS[column] * 100} %`;
      return [digits(simulated), `${digits(median)} (${digits(min)}–${digits(max)})`, off];
    }),
    `${(row.cpu.median * 100).toFixed(0)} % (${(row.cpu.min * 100).toFixed(0)}–${(row.cpu.max * 100).toFixed(0)})`,
    `${row.lagMs.median.toFixed(1)} (${row.lagMs.min.toFixed(1)}–${row.lagMs.max.toFixed(1)})`,
  ]);
  const columns = [...head, 'CPU', 'lag p99, ms'];
  return [
    'Milliseconds; medians over the clean runs. Only means are judged, tails are for information.',
    '',
    `| ${columns.join(' | ')} |`,
    `|${columns.map(() => '---').join('|')}|`,
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n');
}

function traceOf(requests: number): readonly Arrival[] {
  const random = seededRandom(45);
  const size = exponential(MEAN_MS);
  const gap = poisson((RHO * SPEEDS.reduce((sum, s) => sum + s, 0)) / MEAN_MS)(random);
  let at = 0;
  return Array.from({ length: requests }, () => {
    at += gap();
    return { at, size: size(random) };
  });
}

async function measure(strategy: string, trace: readonly Arrival[], seed: number): Promise<Measured> {
  const program = fileURLToPath(new URL('fifo-server.mjs', import.meta.url));
  const engine = createEngine({
    servers: {
      pool: {
        replicas: SPEEDS.map((speed) => ({ command: process.execPath, args: [program, String(speed)] })),
        routing: { strategy },
        maxInFlight: 10_000,
        timeoutMs: 600_000,
        retry: false,
        breaker: false,
        outlier: false,
      },
    },
    // The stream that the simulator routes by.
    random: new Kernel(seed).stream('routing'),
  });
  try {
    await engine.start();
    const lag = monitorEventLoopDelay({ resolution: 5 });
    const before = cpuTimes();
    lag.enable();
    const latencies = await openLoop(engine, trace);
    lag.disable();
    const after = cpuTimes();
    const sorted = latencies.sort();
    return {
      mean: mean(sorted),
      p90: quantile(sorted, 0.9),
      p99: quantile(sorted, 0.99),
      cpu: (after.busy - before.busy) / (after.all - before.all),
      // The histogram counts its own 5 ms of waiting.
      lagMs: Math.max(0, lag.percentile(99) / 1e6 - 5),
    };
  } finally {
    await engine.stop();
  }
}

/** Requests go out at their time, answered or not, and their latency counts from that time: no coordinated omission. */
function openLoop(engine: ReturnType<typeof createEngine>, trace: readonly Arrival[]): Promise<Float64Array> {
  const latencies = new Float64Array(trace.length);
  const from = performance.now() + 100;
  return new Promise((resolve, reject) => {
    let left = trace.length;
    let next = 0;
    const send = (): void => {
      while (next < trace.length && from + trace[next]!.at <= performance.now()) {
        const index = next++;
        const { at, size } = trace[index]!;
        engine.callTool('pool__work', { ms: size }).then(() => {
          latencies[index] = performance.now() - from - at;
          if (--left === 0) resolve(latencies);
        }, reject);
      }
      if (next < trace.length) setTimeout(send, Math.max(0, from + trace[next]!.at - performance.now()));
    };
    send();
  });
}

function cpuTimes(): { busy: number; all: number } {
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq;
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
}
