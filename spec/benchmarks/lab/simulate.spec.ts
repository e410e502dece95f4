import { describe, expect, it } from '@jest/globals';
import { Kernel } from '../../../benchmarks/lab/kernel.ts';
import type { Scenario } from '../../../benchmarks/lab/scenario.ts';
import { simulate, simulateInTurns } from '../../../benchmarks/lab/simulate.ts';
import { type Attempt, ServerModel, type ServerSpec } from '../../../benchmarks/lab/server-model.ts';
import { constant, exponential, poisson } from '../../../benchmarks/lab/sizes.ts';
import { WORKLOADS } from '../../../benchmarks/lab/workloads.ts';
import { strategyByName } from '../../../lib/routing/strategy-registry.ts';

const scenario = (more: Partial<Scenario> = {}): Scenario => ({
  servers: [{}, {}, { speed: 0.5 }],
  strategy: () => strategyByName('ewma-least-outstanding'),
  size: exponential(10),
  gaps: poisson(0.15),
  requests: 3_000,
  ...more,
});

describe('simulate', () => {
  it('is a pure function of scenario and seed', () => {
    const [a, b, other] = [simulate(scenario(), 1), simulate(scenario(), 1), simulate(scenario(), 2)];
    expect(b.logHash).toBe(a.logHash);
    expect(b.latencies).toEqual(a.latencies);
    expect(other.logHash).not.toBe(a.logHash);
    expect(a.logged).toBe(4 * 3_000);
  });

  it('gives every strategy the same arrivals and sizes', () => {
    const work = (name: string): number =>
      simulate(scenario({ servers: [{}, {}, {}], strategy: () => strategyByName(name) }), 3).busyMs;
    expect(work('random')).toBeCloseTo(work('least-outstanding'), 6);
  });

  it("keeps Little's law and loses no request", () => {
    const r = simulate(scenario({ requests: 20_000 }), 4);
    expect(r.littleError).toBeLessThan(0.02);
    expect(r.balanced).toBe(true);
    expect(r.ok + r.late + r.failed + r.rejected + r.live).toBe(r.arrivals);
  });

  it('loses in a crash what is there, refuses what comes, and safe retries lose only the first', () => {
    const crashed = scenario({
      servers: [{ faults: [{ kind: 'crash', from: 2_000, to: 8_000 }] }, {}, {}],
      strategy: () => strategyByName('least-outstanding'),
    });
    const none = simulate(crashed, 5);
    const safe = simulate(
      { ...crashed, retry: { retries: 2, baseMs: 10, capMs: 100, operation: 'unsafe' } },
      5,
    );
    const all = simulate({ ...crashed, retry: { retries: 2, baseMs: 10, capMs: 100, operation: 'read' } }, 5);
    expect(none.failed).toBeGreaterThan(50);
    expect(safe.failed).toBeLessThan(5);
    expect(all.failed).toBe(0);
  });

  it('goes through the shipped pool in turns, event for event the same each time', async () => {
    const layered = scenario({ requests: 500, layers: () => [] });
    const [a, b] = [await simulateInTurns(layered, 6), await simulateInTurns(layered, 6)];
    expect(b.logHash).toBe(a.logHash);
    expect(a.ok).toBe(500);
    expect(() => simulate(layered, 6)).toThrow('simulateInTurns');
  });

  it('finishes a hung server by the timeouts of the attempts', () => {
    const hung = scenario({
      servers: [{ faults: [{ kind: 'hang', from: 0, to: Infinity }] }, {}],
      strategy: () => strategyByName('random'),
      requests: 200,
      attemptTimeoutMs: 100,
    });
    const r = simulate(hung, 7);
    expect(r.live).toBe(0);
    expect(r.failed).toBeGreaterThan(50);
  });
});

describe('every workload', () => {
  it.each(Object.keys(WORKLOADS))('%s: a run leaves nothing behind for the next', (name) => {
    const base = WORKLOADS[name]!.of(3);
    const of: Scenario = {
      ...base,
      // One that ends by time has its faults after some seconds.
      ...(base.requests !== Infinity && { requests: 1_000 }),
      strategy: () => strategyByName('p2c'),
    };
    expect(simulate(of, 1).logHash).toBe(simulate(of, 1).logHash);
  });
});

describe('a closed loop', () => {
  it('goes round under layers as well', async () => {
    const closed = { closed: { users: 4, thinkMs: 10 }, requests: 500 };
    const layered = scenario({ ...closed, layers: () => [] });
    expect((await simulateInTurns(layered, 1)).arrivals).toBe(500);
  });
});

describe('work that gives nobody an answer', () => {
  it.each<[string, ServerSpec]>([
    ['slow servers', { speed: 0.25 }],
    ['stalls', { stall: { share: 1, factor: 20 } }],
    ['processor sharing', { discipline: 'ps' }],
  ])('is all of it where every attempt times out: %s', (_, spec) => {
    const r = simulate(
      scenario({
        servers: [spec, spec],
        size: constant(10),
        gaps: poisson(0.001),
        attemptTimeoutMs: 5,
        requests: 300,
      }),
      1,
    );
    expect(r.failed).toBe(300);
    expect(r.busyMs).toBeGreaterThan(0);
    expect(r.wasted).toBe(1);
  });

  it('is what a crash takes midway, and that was work too', () => {
    const crashing = [{ faults: [{ kind: 'crash', from: 7, to: 8 } as const] }];
    const r = simulate(
      scenario({
        servers: crashing,
        trace: [
          { at: 2, size: 10 },
          { at: 20, size: 15 },
        ],
      }),
      1,
    );
    expect(r).toMatchObject({ busyMs: 20, wasted: 0.25, failed: 1, ok: 1, lostInCrash: 1 });
  });

  it('is the part that was done when a cancel was heeded', () => {
    const ends: unknown[] = [];
    const cancelled = (discipline: 'fifo' | 'ps'): ServerModel => {
      const kernel = new Kernel(1);
      const server = new ServerModel(kernel, { discipline, heedsCancel: true }, 0);
      const of = (name: string): Attempt => ({
        size: 10,
        key: -1,
        expiresAt: Infinity,
        end: (outcome, _sent, _retryAfterMs, workMs) =>
          void ends.push([discipline, name, outcome, workMs, kernel.now()]),
      });
      const [a, b] = [of('a'), of('b')];
      kernel.at(0, { happen: () => [a, b].forEach((attempt) => server.take(attempt)) });
      kernel.at(4, { happen: () => server.cancel(a) });
      kernel.run();
      return server;
    };
    expect(cancelled('fifo').busyMs).toBe(14);
    expect(cancelled('ps').busyMs).toBe(12);
    expect(ends).toEqual([
      ['fifo', 'a', 'cancelled', 4, 4],
      ['fifo', 'b', 'ok', 10, 14],
      // Two of ten milliseconds of each were done in the first four; the rest of the other goes at full speed.
      ['ps', 'a', 'cancelled', 2, 4],
      ['ps', 'b', 'ok', 10, 12],
    ]);
  });
});

describe('processor sharing', () => {
  const sharing = (spec: ServerSpec, trace: NonNullable<Scenario['trace']>) =>
    simulate(scenario({ servers: [{ discipline: 'ps', ...spec }], trace, warmUp: 0 }), 1);

  it('forgets what it had planned when it crashes', () => {
    const faults = [{ kind: 'crash', from: 5, to: 6 } as const];
    const r = sharing({ faults }, [
      { at: 0, size: 10 },
      { at: 12, size: 10 },
    ]);
    expect(r).toMatchObject({ ok: 1, failed: 1, balanced: true, busyMs: 15, mean: 10 });
  });

  it('refuses what would be beyond its queue', () => {
    const r = sharing({ queueCap: 1 }, [
      { at: 0, size: 10 },
      { at: 1, size: 10 },
      { at: 2, size: 10 },
    ]);
    expect(r).toMatchObject({ ok: 2, rejected: 1 });
  });
});

describe('figures of a run', () => {
  it('leave the cold cache out where a run ends by time too', () => {
    const cached = scenario({
      servers: [{ cache: { entries: 100, hitFactor: 1 } }],
      gaps: poisson(0.05),
      // Ten keys, each missed once at the beginning.
      keys: (random) => Math.floor(random() * 10),
      requests: Infinity,
      untilMs: 20_000,
    });
    expect(simulate(cached, 1).hitRate).toBe(1);
    expect(simulate({ ...cached, warmUp: 0 }, 1).hitRate).toBeLessThan(1);
  });

  it('say whether the latencies grew', () => {
    expect(simulate(scenario({ gaps: poisson(1) }), 1).drift).toBeGreaterThan(3);
    const stable = simulate(scenario({ requests: 20_000, gaps: poisson(0.1) }), 1).drift;
    expect(stable).toBeGreaterThan(0.7);
    expect(stable).toBeLessThan(1.4);
  });
});
