import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../../lib/core/errors.ts';
import { type LoadReport, type LoadReporter, prequal } from '../../../lib/routing/strategies/prequal.ts';
import { benchOf, counted, times } from '../bench.ts';

/** A reporter that tells what `load` says of each replica, at once. */
function reporterOf(load: (id: string) => LoadReport): LoadReporter & { readonly probed: string[] } {
  const probed: string[] = [];
  return {
    probed,
    probe(id, report) {
      probed.push(id);
      report(load(id));
    },
  };
}

describe('prequal', () => {
  it('refuses to be made without a load reporter, and says what to use', () => {
    expect(() => prequal()).toThrow(TroupeError);
    expect(() => prequal({})).toThrow(/\[config_invalid\].*loadReporter.*"ewma-least-outstanding"/);
    expect(() => prequal({ loadReporter: {} })).toThrow(/probe\(id, report\)/);
  });

  it('probes as often as it is told, nobody twice for one pick', () => {
    const reporter = reporterOf(() => ({ inFlight: 0, latencyMs: 1, at: 1_000 }));
    const bench = benchOf({ strategy: prequal({ loadReporter: reporter, probes: 4 }), replicas: 6 });
    bench.take();
    expect(reporter.probed).toHaveLength(4);
    expect(new Set(reporter.probed).size).toBe(4);
  });

  it('takes the fastest among the cold', () => {
    const loads: Record<string, number> = { a: 20, b: 3, c: 50, d: 1 };
    const reporter = reporterOf((id) => ({
      inFlight: id === 'd' ? 90 : 1,
      latencyMs: loads[id]!,
      at: 1_000,
    }));
    const bench = benchOf({
      strategy: prequal({ loadReporter: reporter, probes: 4 }),
      replicas: ['a', 'b', 'c', 'd'],
    });
    const counts = counted(times(100, () => bench.call(0)));
    // d is fastest but hot.
    expect(counts['b']!).toBeGreaterThan(80);
    expect(counts['d'] ?? 0).toBeLessThan(5);
  });

  it('forgets what a replica said before when it says something new', () => {
    let aInFlight = 0;
    const reporter = reporterOf((id) => ({
      inFlight: id === 'a' ? aInFlight : 5,
      latencyMs: id === 'a' ? 1 : 10,
      at: 1_000,
    }));
    // No report is removed for its age within the test, so only the newer one can drive out the older.
    const strategy = prequal({ loadReporter: reporter, probes: 3, hotQuantile: 0.5 });
    const bench = benchOf({ strategy, replicas: ['a', 'b', 'c'] });
    bench.call(1);
    aInFlight = 100;
    const counts = counted(times(50, () => bench.call(1)));
    expect(counts['a'] ?? 0).toBeLessThan(3);
  });

  it('uses a report once in a small pool, so that clients do not herd on it', () => {
    const idle: LoadReport = { inFlight: 0, latencyMs: 1, at: 1_000 };
    const busy: LoadReport = { inFlight: 0, latencyMs: 50, at: 1_000 };
    let silent = false;
    const reporter: LoadReporter = {
      probe: (id, report) => {
        if (!silent) report(id === 'a' ? idle : busy);
      },
    };
    const strategy = prequal({ loadReporter: reporter, probes: 8, pool: 16 });
    const bench = benchOf({ strategy, replicas: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] });
    expect(bench.call(1)).toBe('a');
    silent = true;
    // Its one report was used up by the first pick; chance alone would take it again once in eight.
    expect(bench.call(1)).not.toBe('a');
    expect(bench.call(1)).not.toBe('a');
  });

  it('leaves the pick to chance when reports are too old or nobody reports', () => {
    for (const reporter of [
      reporterOf(() => ({ inFlight: 0, latencyMs: 1, at: -10_000 })),
      { probe: () => {} },
    ]) {
      const bench = benchOf({ strategy: prequal({ loadReporter: reporter }), replicas: 4 });
      const counts = counted(times(2_000, () => bench.call(1)));
      for (const count of Object.values(counts)) expect(Math.abs(count - 500)).toBeLessThan(120);
    }
  });

  it('avoids one that fails fast, however good it says it is', () => {
    const loadReporter = reporterOf((id) => ({
      inFlight: 0,
      latencyMs: id === 'r0' ? 1 : 10,
      at: bench.now,
    }));
    const bench = benchOf({ strategy: prequal({ loadReporter }), replicas: 5 });
    let hits = 0;
    for (let i = 0; i < 1_000; i++) {
      const { id, lease } = bench.take();
      if (id === 'r0') hits++;
      bench.now += 2;
      bench.picker.settle(lease, id === 'r0' ? 'transport' : 'ok');
    }
    expect(hits).toBeLessThan(30);
  });

  it('takes late reports and reports of the departed without harm', () => {
    const late: (() => void)[] = [];
    const reporter: LoadReporter = {
      probe: (_, report) => void late.push(() => report({ inFlight: 1, latencyMs: 5, at: 1_000 })),
    };
    const bench = benchOf({ strategy: prequal({ loadReporter: reporter }), replicas: ['a', 'b', 'c'] });
    bench.take();
    bench.resize(['c']);
    for (const report of late) report();
    expect(bench.take().id).toBe('c');
    expect(bench.faults).toEqual([]);
  });

  it('does not believe nonsense', () => {
    const reporter = reporterOf(() => ({ inFlight: NaN, latencyMs: -1, at: Infinity }));
    const bench = benchOf({ strategy: prequal({ loadReporter: reporter }), replicas: 3 });
    expect(Object.keys(counted(times(100, () => bench.call(1))))).toHaveLength(3);
    expect(bench.faults).toEqual([]);
  });
});
