import { describe, expect, it } from '@jest/globals';
import { type Lab, QUICK } from '../../../benchmarks/lab/lab.ts';
import { runCase } from '../../../benchmarks/lab/validate/queues.ts';
import { VALIDATION } from '../../../benchmarks/lab/validate.ts';

/** Few requests and wide tolerances: whether the machinery is right, not the last digit. `npm run lab -- validate` does that. */
const small: Lab = { ...QUICK, seeds: [1, 2], scale: 0.03, slack: 5 };

describe('validation', () => {
  it.each(['V1', 'V8', 'V12', 'V31', 'V32', 'V36'])('%s holds', async (id) => {
    const findings = await VALIDATION.find((e) => e.id === id)!.run(small);
    const off = findings.filter((f) => !f.ok);
    expect(off).toEqual([]);
    expect(findings.length).toBeGreaterThan(0);
  });

  it('V14 holds about at n=50: two choices halve the time of one', () => {
    const result = runCase(small, {
      n: 50,
      rho: 0.8,
      strategy: () => small.strategy('p2c'),
      requests: 300_000,
    });
    for (const r of result) expect(Math.abs(r.mean / 1.9474 - 1)).toBeLessThan(0.15);
  });

  it('fails when the strategy is another than it should be', async () => {
    const broken: Lab = { ...small, strategy: (_, options) => QUICK.strategy('random', options) };
    const findings = await VALIDATION.find((e) => e.id === 'V12')!.run(broken);
    expect(findings.find((f) => f.what === 'T')?.ok).toBe(false);
  });

  it('has every row of the specification', () => {
    const rows =
      'V1 V2 V3 V4 V6 V8 V9 V11 V12 V13 V14 V15 V18 V20 V21 V22 V23 V24 V25 V27 V29 V30 V31 V32 V33 V34'.split(
        ' ',
      );
    expect(VALIDATION.map((e) => e.id)).toEqual(expect.arrayContaining(rows));
  });
});
