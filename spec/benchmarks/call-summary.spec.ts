import { describe, expect, it } from '@jest/globals';
import type { Contender, Transport, Visit, Visits, Window } from '../../benchmarks/call/contest.ts';
import { callRows, callVerdicts, ratioOf } from '../../benchmarks/call/summary.ts';
import { missedOf, spreadOf, verdict } from '../../benchmarks/support/verdict.ts';

function window(perSecond: number, changes: Partial<Window> = {}): Window {
  return {
    inFlight: 256,
    calls: 1_000,
    perSecond,
    p50Us: 10,
    p99Us: 20,
    cpuUs: 1_000_000 / perSecond,
    gcShare: 0,
    stallMs: 1,
    foreign: 0,
    ...changes,
  };
}

function visits(transport: Transport, seen: Partial<Record<Contender, readonly Window[]>>): Visits {
  const visit = (w: Window): Visit => ({ windows: [w], heapBytes: 500, calls: 1_000, warnings: {} });
  return new Map([
    [
      transport,
      new Map(
        Object.entries(seen).map(([name, windows]) => [name as Contender, windows.map((w) => visit(w))]),
      ),
    ],
  ]);
}

describe('the ratio of two contenders', () => {
  it('is taken round by round', () => {
    const seen = visits('stdio', {
      troupe: [window(100), window(900), window(40)],
      sdk2: [window(10), window(300), window(10)],
    });
    expect(ratioOf(seen, 'stdio', 256, 'troupe', 'sdk2', 'perSecond')).toEqual({
      median: 4,
      min: 3,
      max: 10,
    });
  });

  it('leaves rounds out in which others used the machine, where there are quieter ones', () => {
    const seen = visits('stdio', {
      troupe: [window(100), window(50)],
      sdk2: [window(10, { foreign: 1.5 }), window(10)],
    });
    expect(ratioOf(seen, 'stdio', 256, 'troupe', 'sdk2', 'perSecond')?.median).toBe(5);
  });

  it('takes what there is where all were busy', () => {
    const seen = visits('stdio', {
      troupe: [window(100, { foreign: 1 })],
      sdk2: [window(10, { foreign: 1 })],
    });
    expect(ratioOf(seen, 'stdio', 256, 'troupe', 'sdk2', 'perSecond')?.median).toBe(10);
  });

  it('is not there where one of them was not measured', () => {
    expect(ratioOf(visits('stdio', { troupe: [window(1)] }), 'stdio', 256, 'troupe', 'sdk2', 'p50Us')).toBe(
      undefined,
    );
  });
});

describe('the goals', () => {
  it('are missed by an engine that is as fast as the official client', () => {
    const seen = visits('stdio', { troupe: [window(100)], sdk2: [window(100)], bare: [window(400)] });
    const missed = callVerdicts(seen, callRows(seen)).filter(({ held }) => !held);
    expect(missed.map(({ goal }) => goal)).toEqual([
      'stdio, 256 in flight, calls per second, times sdk2: ≥ 3.5',
      'stdio, 256 in flight, calls per second, times bare: ≥ 0.7',
    ]);
  });

  it('are held by one that is fast enough', () => {
    const seen = visits('stdio', { troupe: [window(350)], sdk2: [window(100)], bare: [window(400)] });
    expect(callVerdicts(seen, callRows(seen)).filter(({ held }) => !held)).toEqual([]);
  });

  it('see an event loop that stands still', () => {
    const seen = visits('stdio', { troupe: [window(350, { stallMs: 21 })] });
    const missed = callVerdicts(seen, callRows(seen)).filter(({ held }) => !held);
    expect(missed).toHaveLength(1);
    expect(missed[0]?.goal).toMatch(/standstill/);
  });

  it('count what the engine uses above the bare wire in memory', () => {
    const seen = visits('memory', {
      troupe: [window(200_000)],
      bare: [window(1_000_000)],
      sdk2: [window(10)],
    });
    const above = callVerdicts(seen, callRows(seen)).find(({ goal }) => goal.startsWith('CPU above'));
    expect(above).toMatchObject({ held: false });
    expect(above?.measured).toBeCloseTo(4);
  });
});

it('a verdict holds at its bound, and says what it is where it does not', () => {
  expect(verdict('x', spreadOf([1, 2, 3]), '≤', 2).held).toBe(true);
  expect(verdict('x', spreadOf([1, 2, 3]), '≥', 2).held).toBe(true);
  expect(missedOf([verdict('x', spreadOf([1, 2, 3]), '≤', 1.5)])).toEqual(['x: ≤ 1.5; it is 2.00']);
});
