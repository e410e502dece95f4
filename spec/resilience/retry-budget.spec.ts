import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createRetryBudget } from '../../lib/resilience/retry-budget.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const DEFAULTS = { ratio: 0.1, minPerSecond: 1, windowMs: 10_000 };

describe('retry budget', () => {
  it('a quiet server has the reserve of one per second of window, and no more', () => {
    const budget = createRetryBudget({ clock: createVirtualClock(), ...DEFAULTS });
    expect(budget.balance).toBe(10);
    for (let i = 0; i < 10; i++) expect(budget.withdraw()).toBe(true);
    expect(budget.withdraw()).toBe(false);
    expect(budget.balance).toBe(0);
  });

  it('ten requests earn one extra attempt', () => {
    const budget = createRetryBudget({ clock: createVirtualClock(), ...DEFAULTS, minPerSecond: 0 });
    for (let i = 0; i < 9; i++) budget.deposit();
    expect(budget.withdraw()).toBe(false);
    budget.deposit();
    expect(budget.withdraw()).toBe(true);
    expect(budget.withdraw()).toBe(false);
  });

  it('what was earned and what was spent expire with the window', async () => {
    const clock = createVirtualClock();
    const budget = createRetryBudget({ clock, ...DEFAULTS });
    for (let i = 0; i < 100; i++) budget.deposit();
    expect(budget.balance).toBeCloseTo(20);
    await clock.advance(9_000);
    expect(budget.balance).toBeCloseTo(20);
    await clock.advance(1_000);
    expect(budget.balance).toBeCloseTo(10);
    for (let i = 0; i < 10; i++) budget.withdraw();
    expect(budget.balance).toBe(0);
    await clock.advance(10_000);
    expect(budget.balance).toBeCloseTo(10);
    await clock.advance(10_000_000);
    expect(budget.balance).toBeCloseTo(10);
  });

  it('in no window are more extra attempts granted than the ratio and the reserve allow', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ deposits: fc.nat(30), tries: fc.nat(10), gapMs: fc.nat(3_000) }), {
          maxLength: 40,
        }),
        async (steps) => {
          const clock = createVirtualClock();
          const budget = createRetryBudget({ clock, ...DEFAULTS });
          let deposits = 0;
          let granted = 0;
          for (const { deposits: n, tries, gapMs } of steps) {
            for (let i = 0; i < n; i++) budget.deposit();
            deposits += n;
            for (let i = 0; i < tries; i++) if (budget.withdraw()) granted++;
            expect(budget.balance).toBeGreaterThanOrEqual(0);
            // The reserve is renewed at most once per window.
            const windows = 1 + Math.floor((clock.now() - 1_000) / (DEFAULTS.windowMs - 1_000));
            expect(granted).toBeLessThanOrEqual(0.1 * deposits + 10 * windows + 1e-6);
            await clock.advance(gapMs);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
