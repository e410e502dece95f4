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
import { table } from './table.ts';

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

/** The same trace through real processes and through the simulator. */
export async function live({ requests, repetitions, tries, say }: LiveOptions): Promise<readonly Finding[]> {
  const trace = traceOf(requests);
  const clean = new Map<string, Measured[]>(STRATEGIES.map((name) => [name, []]));
  const seedOf = (name: string): number => clean.get(name)!.length + 1;
  // Interleaved: what changes on the machine meanwhile meets all strategies.
  for (let round = 0; round < tries; round++) {
    for (const name of STRATEGIES) {
      if (clean.get(name)!.length >= repetitions) continue;
      const measured = await measure(name, trace, seedOf(name));
      const ok = measured.cpu <= MAX_CPU && measured.lagMs <= MAX_LAG_MS;
      say(
        `${name}: mean ${digits(measured.mean)} ms, p99 ${digits(measured.p99)} ms; CPU ${(measured.cpu * 100).toFixed(0)} %, lag p99 ${measured.lagMs.toFixed(1)} ms${ok ? '' : ': discarded, the machine is loaded'}`,
      );
      if (ok) clean.get(name)!.push(measured);
    }
  }
  // Chance is the same as in the clean runs: where round robin begins alone decides a quarter of its mean.
  const model = (name: string): Result[] =>
    Array.from({ length: repetitions }, (_, i) =>
      simulate(
        {
          servers: SPEEDS.map((speed) => ({ speed })),
          strategy: () => strategyByName(name),
          trace,
          warmUp: 0,
        },
        i + 1,
      ),
    );
  const simulated = STRATEGIES.map((name) => {
    const results = model(name);
    const median = (of: (r: Result) => number): number =>
      quantile(
        results.map(of).sort((x, y) => x - y),
        0.5,
      );
    return { mean: median((r) => r.mean), p90: median((r) => r.p90), p99: median((r) => r.p99) };
  });
  const middle = (name: string, of: (m: Measured) => number): number =>
    quantile(
      clean
        .get(name)!
        .map(of)
        .sort((a, b) => a - b),
      0.5,
    );
  say(
    table(
      [
        'strategy',
        'mean simulated',
        'measured',
        'p90 simulated',
        'measured',
        'p99 simulated',
        'measured',
        'clean runs',
      ],
      STRATEGIES.map((name, i) => [
        name,
        digits(simulated[i]!.mean),
        digits(middle(name, (m) => m.mean)),
        digits(simulated[i]!.p90),
        digits(middle(name, (m) => m.p90)),
        digits(simulated[i]!.p99),
        digits(middle(name, (m) => m.p99)),
        `${clean.get(name)!.length} of ${repetitions}`,
      ]),
    ),
  );
  const missing = STRATEGIES.filter((name) => clean.get(name)!.length < repetitions);
  if (missing.length > 0) {
    return [
      holds(
        'clean runs',
        `${repetitions} each`,
        `too few of ${missing.join(', ')}: the machine is loaded`,
        false,
      ),
    ];
  }
  const measured = STRATEGIES.map((name) => middle(name, (m) => m.mean));
  const order = (values: readonly number[]): string =>
    [...STRATEGIES.keys()]
      .sort((a, b) => values[a]! - values[b]!)
      .map((i) => STRATEGIES[i])
      .join(' < ');
  const inTheory = order(simulated.map((r) => r.mean));
  return [
    ...STRATEGIES.map((name, i) => near(`${name} mean`, simulated[i]!.mean, measured[i]!, 0.1)),
    holds('order of the means', inTheory, order(measured), inTheory === order(measured)),
  ];
}

function traceOf(requests: number): readonly Arrival[] {
  const random = seededRandom(45);
  const size = exponential(MEAN_MS);
  const gaps = poisson((RHO * SPEEDS.reduce((sum, s) => sum + s, 0)) / MEAN_MS);
  let at = 0;
  return Array.from({ length: requests }, () => {
    at += gaps(random);
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
