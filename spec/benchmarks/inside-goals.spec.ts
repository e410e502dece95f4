import { expect, it } from '@jest/globals';
import { insideVerdicts } from '../../benchmarks/inside/inside.ts';

type Figures = Readonly<Record<string, number>>;

const GOOD: Figures = {
  startStallMs: 5,
  coldStallMs: 5,
  firstStallMs: 5,
  refreshStallMs: 5,
  refreshCpuMs: 9,
  firstCpuMs: 25,
  coldMs: 900,
  afterChangeCpuMs: 4,
  compiled: 0,
};

function missed(changes: Readonly<Record<number, Figures>>): readonly string[] {
  const found = [10, 50, 1_000].map((servers) => {
    const figures = Object.entries({ ...GOOD, ...changes[servers] });
    return [`list of ${servers} × 100`, new Map(figures.map(([what, value]) => [what, [value]]))] as const;
  });
  return insideVerdicts(new Map(found))
    .filter(({ held }) => !held)
    .map(({ goal }) => goal);
}

it('lists that are fast enough miss nothing', () => {
  expect(missed({})).toEqual([]);
});

it('a cold build is judged apart from asking again', () => {
  expect(missed({ 1_000: { coldMs: 1_001 } })).toEqual([expect.stringMatching(/cold/)]);
  expect(missed({ 50: { refreshCpuMs: 16 } })).toEqual([expect.stringMatching(/asked again/)]);
});

it('an event loop that stands still is a goal missed, whenever and with however many servers', () => {
  expect(missed({ 10: { startStallMs: 21 } })).toEqual([expect.stringMatching(/start.*standstill/)]);
  expect(missed({ 1_000: { coldStallMs: 21 } })).toEqual([expect.stringMatching(/lists.*standstill/)]);
});

it('what was not measured is not held', () => {
  expect(missed({ 50: { startStallMs: Number.NaN } })).toHaveLength(1);
});
