import { Cancellation } from '../../../lib/core/cancellation.ts';
import { TroupeError } from '../../../lib/core/errors.ts';
import { type Handler, compose } from '../../../lib/core/interceptor.ts';
import type { Request } from '../../../lib/core/request.ts';
import { createCircuitBreaker } from '../../../lib/resilience/circuit-breaker.ts';
import { hedge } from '../../../lib/resilience/hedge.ts';
import { retry } from '../../../lib/resilience/retry.ts';
import { singleFlight } from '../../../lib/resilience/single-flight.ts';
import { type Experiment, type Finding, type Lab, near, within } from '../lab.ts';
import { Kernel } from '../kernel.ts';
import { mean, quantile } from '../metrics.ts';
import { exponential, poisson } from '../sizes.ts';

/** The shipped interceptors on the clock of the simulator, in front of servers without queues. */

function readOf(kernel: Kernel, seq: number): Request {
  return Object.freeze({
    seq,
    method: 'resources/read',
    params: { uri: 'lab:one' },
    server: 'pool',
    target: 'lab:one',
    operation: 'read',
    deadline: Infinity,
    startedAt: kernel.now(),
    cancellation: new Cancellation(),
    onProgress: undefined,
    principal: undefined,
    affinity: undefined,
    cache: 'use',
    batch: false,
    meta: undefined,
    attempt: 1,
    tried: [],
    facts: { attempts: 0, rounds: 0 },
  });
}

interface Sent {
  /** Latencies of the answered requests, ascending. */
  readonly latencies: Float64Array;
  readonly asked: number;
  readonly answered: number;
  /** Calls that reached the terminal. */
  readonly calls: number;
}

/** Sends Poisson traffic through a handler and counts. */
async function send(
  kernel: Kernel,
  requests: number,
  perMs: number,
  handlerOf: (terminal: Handler) => Handler,
  terminal: (request: Request, call: number) => Promise<Record<string, unknown>>,
): Promise<Sent> {
  const gaps = poisson(perMs);
  const random = kernel.stream('arrivals');
  const latencies = new Float64Array(requests);
  let answered = 0;
  let calls = 0;
  const handler = handlerOf((request) => terminal(request, calls++));
  let asked = 0;
  const arrival = {
    happen(): void {
      const at = kernel.now();
      kernel.promised();
      handler(readOf(kernel, asked++)).then(
        () => {
          latencies[answered++] = kernel.now() - at;
        },
        () => {},
      );
      if (asked < requests) kernel.at(at + gaps(random), arrival);
    },
  };
  kernel.at(0, arrival);
  await kernel.runInTurns();
  return { latencies: latencies.slice(0, answered).sort(), asked, answered, calls };
}

const later = (kernel: Kernel, ms: number, request: Request): Promise<Record<string, unknown>> =>
  new Promise((resolve, reject) => {
    request.cancellation.listen((reason) => {
      kernel.promised();
      reject(reason);
    });
    kernel.after(ms, () => resolve({}));
  });

async function hedged(lab: Lab): Promise<Finding[]> {
  const kernel = new Kernel(23);
  const sizes = kernel.stream('sizes');
  // A thousand milliseconds for the unit: the shipped hedge waits at least one.
  const unit = 1_000;
  const size = exponential(unit);
  const policy = { quantile: 0.95, minSamples: 20, minDelayMs: 1, budgetRatio: 1, maxUtilisation: 1 };
  const layer = hedge({ clock: kernel, policy: () => policy, budget: () => undefined, utilisation: () => 0 });
  const requests = Math.round(200_000 * Math.max(0.2, lab.scale));
  const { latencies, calls } = await send(kernel, requests, 1 / unit, layer, (request) =>
    later(kernel, size(sizes), request),
  );
  return [
    near('p99', 3.8005, quantile(latencies, 0.99) / unit, 0.05 * lab.slack),
    near('p99.9', 4.9517, quantile(latencies, 0.999) / unit, 0.05 * lab.slack),
    near('mean', 0.975, mean(latencies) / unit, 0.03 * lab.slack),
    // The delay is the p95 of 256 samples, whose rank has a standard deviation of 1.4 percentage points.
    within('extra requests', 0.05, calls / requests - 1, 0.01),
  ];
}

function fannedOut(lab: Lab): Finding[] {
  const kernel = new Kernel(24);
  const random = kernel.stream('sizes');
  const size = exponential(1);
  const wide = 100;
  const times = Math.round(20_000 * Math.max(0.2, lab.scale));
  const legs = new Float64Array(wide * times);
  const slowest = new Float64Array(times);
  for (let k = 0; k < times; k++) {
    const at = k * 100;
    for (let leg = 0; leg < wide; leg++) {
      const took = size(random);
      kernel.at(at + took, {
        happen() {
          legs[k * wide + leg] = kernel.now() - at;
          slowest[k] = Math.max(slowest[k]!, kernel.now() - at);
        },
      });
    }
    if (k % 100 === 99) kernel.run();
  }
  kernel.run();
  const p99 = quantile(legs.slice().sort(), 0.99);
  return [
    near('beyond the p99 of a leg', 0.634, slowest.filter((ms) => ms > p99).length / times, 0.03 * lab.slack),
  ];
}

async function retried(lab: Lab): Promise<Finding[]> {
  const down = (): never => {
    throw new TroupeError('connection_lost', 'the lab lost it', { delivery: 'sent' });
  };
  const layerOf = (kernel: Kernel) =>
    retry({
      clock: kernel,
      random: kernel.stream('backoff'),
      policy: () => ({ retries: 3, baseMs: 1, capMs: 8 }),
      budget: () => undefined,
    });
  const kernel = new Kernel(25);
  const faults = kernel.stream('faults');
  const requests = Math.round(40_000 * Math.max(0.25, lab.scale));
  const half = await send(kernel, requests, 0.1, layerOf(kernel), async () => (faults() < 0.5 ? down() : {}));
  const other = new Kernel(26);
  const layers = await send(
    other,
    10,
    0.001,
    (terminal) => compose([layerOf(other), layerOf(other), layerOf(other)], terminal),
    async () => down(),
  );
  return [
    near('attempts, p=.5, r=3', 1.875, half.calls / half.asked, 0.03 * lab.slack),
    near('success', 0.9375, half.answered / half.asked, 0.03 * lab.slack),
    within('3 layers, all fail: attempts', 64, layers.calls / layers.asked, 0),
  ];
}

async function coalesced(lab: Lab): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const [load, expected] of [
    [0.5, 0.6667],
    [1, 0.5],
    [2, 0.3333],
    [5, 0.1667],
  ] as const) {
    const kernel = new Kernel(27 + load);
    const requests = Math.round(60_000 * Math.max(0.25, lab.scale));
    const { calls } = await send(kernel, requests, load / 10, singleFlight(), (request) =>
      later(kernel, 10, request),
    );
    found.push(near(`λD=${load}`, expected, calls / requests, 0.03 * lab.slack));
  }
  return found;
}

function tripped(lab: Lab): Finding[] {
  return (
    [
      [0.5, 62],
      [0.9, 6.94],
    ] as const
  ).map(([p, expected]) => {
    const kernel = new Kernel(34);
    const faults = kernel.stream('faults');
    const times = Math.round(4_000 * Math.max(0.25, lab.scale));
    let calls = 0;
    for (let k = 0; k < times; k++) {
      const breaker = createCircuitBreaker({
        clock: kernel,
        random: faults,
        // Only the rule of the run: the share never means anything.
        options: {
          minSamples: 1_000_000,
          failureRatio: 1,
          consecutive: 5,
          windowMs: 10_000,
          openMs: 5_000,
          openFactor: 2,
          openMaxMs: 60_000,
          probeTimeoutMs: 5_000,
        },
        probe: () => Promise.resolve(),
      });
      while (breaker.state === 'closed') {
        calls++;
        breaker.report(faults() < p ? 'transport' : 'ok', breaker.generation);
      }
      breaker.dispose();
    }
    return near(`p=${p}: calls to trip`, expected, calls / times, 0.05 * lab.slack);
  });
}

export const RESILIENCE: readonly Experiment[] = [
  { id: 'V23', what: 'hedge at p95, i.i.d. Exp(1)', run: hedged },
  { id: 'V24', what: 'fan-out to 100', run: fannedOut },
  { id: 'V25', what: 'retries', run: retried },
  { id: 'V27', what: 'coalescing 1/(1+λD)', run: coalesced },
  { id: 'V34', what: 'breaker of 5 in a row', run: tripped },
];
