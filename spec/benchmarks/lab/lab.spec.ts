import { describe, expect, it } from '@jest/globals';
import { judge, wordOf } from '../../../benchmarks/lab/experiments.ts';
import { type Experiment, QUICK, factor, knownToDiffer, near, rises } from '../../../benchmarks/lab/lab.ts';
import { MUTATION } from '../../../benchmarks/lab/mutants.ts';
import { simulate } from '../../../benchmarks/lab/simulate.ts';
import { exponential, poisson } from '../../../benchmarks/lab/sizes.ts';

describe('rises', () => {
  it('holds where the means differ by more than chance', () => {
    expect(rises('t', { a: [1, 2, 3], b: [2, 3, 4.1] }).ok).toBe(true);
    expect(rises('t', { a: 1, b: 2 }).ok).toBe(true);
  });

  it('does not where they do not, though one is higher', () => {
    const finding = rises('t', { a: [10, 10, 10], b: [9, 10, 14] });
    expect(finding.ok).toBe(false);
    expect(finding.measured).toBe('10 ± 0 / 11 ± 2.646');
    expect(finding.allowed).toContain('2 s.d./√n');
    expect(rises('t', { a: [1, 1, 1], b: [1, 1, 1] }).ok).toBe(false);
  });
});

describe('knownToDiffer', () => {
  const of = (measured: number) => knownToDiffer(near('t', 10, measured, 0.1), measured, [5, 8], 'because');
  const verdictOf = async (measured: number) => {
    const experiment: Experiment = { id: 'X', what: 'x', run: () => [of(measured)] };
    return wordOf(await judge(experiment, QUICK));
  };

  it('has its reason within its band only', async () => {
    expect(of(10).note).toBeUndefined();
    expect(of(6)).toMatchObject({ ok: false, note: 'because', allowed: '±10 %; known to differ: 5–8' });
    expect(of(4).note).toBeUndefined();
    expect([await verdictOf(10), await verdictOf(6), await verdictOf(4)]).toEqual(['ok', 'differs', 'FAILS']);
  });

  it('takes a factor with its spread', () => {
    expect(factor('t', [2, 4], [1, 2], 3).measured).toBe('2.00× ± 0');
  });
});

describe('judge', () => {
  it('hashes the event logs of all runs of a case', async () => {
    const of = (seeds: readonly number[]): Experiment => ({
      id: 'X',
      what: 'x',
      run: ({ strategy }) => {
        for (const seed of seeds) {
          const scenario = { servers: [{}, {}], size: exponential(1), gaps: poisson(1), requests: 50 };
          simulate({ ...scenario, strategy: () => strategy('random') }, seed);
        }
        return [];
      },
    });
    const log = async (seeds: readonly number[]) => (await judge(of(seeds), QUICK)).log;
    expect(await log([1, 2])).toMatch(/^[0-9a-f]{8}$/);
    expect(await log([1, 2])).toBe(await log([1, 2]));
    expect(await log([1, 3])).not.toBe(await log([1, 2]));
    expect(await log([])).toBeUndefined();
  });
});

describe('mutants', () => {
  it('are noticed by an experiment that holds without them', async () => {
    const throws = MUTATION.find(({ id }) => id === 'least-outstanding/throws')!;
    const { findings } = await judge(throws, QUICK);
    expect(findings.map(({ what, ok }) => [what, ok])).toEqual([
      ['baseline', true],
      ['caught', true],
    ]);
  });
});
