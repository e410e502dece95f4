import { describe, expect, it } from '@jest/globals';
import type { Outcome } from '../../lib/core/outcome.ts';
import { LoadMeter } from '../../lib/routing/load-meter.ts';
import { DEFAULT_COST } from '../../lib/routing/strategy.ts';

function meterOf(...ids: string[]): LoadMeter {
  const meter = new LoadMeter();
  meter.resize(ids.map((id) => ({ id })));
  return meter;
}

/** One request from `at`, `ms` long. */
function book(meter: LoadMeter, index: number, at: number, ms: number, outcome: Outcome = 'ok'): void {
  meter.lease(index, at).settle(outcome, at + ms);
}

describe('load meter', () => {
  it('knows how long a request takes now: a timeout was at least that slow, other failures say nothing', () => {
    const meter = new LoadMeter();
    meter.resize([{ id: 'a' }, { id: 'b' }]);
    const take = (index: number, latencyMs: number, outcome: Outcome): void => {
      meter.lease(index, 0).settle(outcome, latencyMs);
    };
    expect(meter.serviceMs).toBe(meter.medianMs);
    for (let k = 0; k < 100; k++) take(k % 2, 10, 'ok');
    expect(meter.serviceMs).toBeCloseTo(10);
    take(0, 1, 'transport');
    take(0, 1, 'overload');
    take(0, 1_000, 'cancelled');
    // A caller in a hurry does not make the server quick.
    take(0, 2, 'timeout');
    expect(meter.serviceMs).toBeCloseTo(10);
    for (let k = 0; k < 20; k++) take(1, 500, 'timeout');
    expect(meter.serviceMs).toBeGreaterThan(400);
    for (let k = 0; k < 40; k++) take(1, 10, 'tool-error');
    expect(meter.serviceMs).toBeLessThan(20);
  });

  it('releases a lease exactly once, whoever settles it how often', () => {
    const meter = meterOf('a', 'b');
    const lease = meter.lease(0, 100);
    meter.lease(0, 100);
    expect(meter.inflight[0]).toBe(2);
    expect(lease.settle('ok', 110)).toBe(10);
    expect(lease.settle('transport', 200)).toBe(-1);
    expect(lease.settle('ok', 300)).toBe(-1);
    expect(lease.open).toBe(false);
    expect(meter.inflight[0]).toBe(1);
    expect(meter.live).toBe(1);
    expect(meter.load(0, 110)).toMatchObject({ inFlight: 1, latencyMs: 10, calls: 2 });
  });

  it('takes 30 ms for a cost before anybody answered, then the median of the others', () => {
    const meter = meterOf('a', 'b', 'c', 'd');
    expect(meter.cost(3, 0)).toBe(30);
    book(meter, 0, 0, 4);
    book(meter, 1, 0, 8);
    book(meter, 2, 0, 100);
    expect(meter.medianMs).toBe(8);
    expect(meter.cost(3, 100)).toBe(8);
    expect(meter.load(3, 100).latencyMs).toBeUndefined();
  });

  it('averages answers over time, good and bad ones alike', () => {
    for (const outcome of ['ok', 'tool-error', 'app-error'] as const) {
      const meter = meterOf('a');
      book(meter, 0, 0, 10, outcome);
      book(meter, 0, 10_005, 5, outcome);
      expect(meter.costMs[0]).toBeCloseTo(5 + 5 * Math.exp(-1), 6);
      expect(meter.load(0, 10_010).latencyMs).toBeCloseTo(5 + 5 * Math.exp(-1), 6);
    }
  });

  it.each(['transport', 'timeout', 'overload', 'server-error'] as const)(
    'a failure (%s) costs 5 s at once',
    (outcome) => {
      const meter = meterOf('a', 'b');
      book(meter, 0, 0, 10);
      book(meter, 1, 0, 10);
      book(meter, 0, 10, 1, outcome);
      expect(meter.cost(0, 11)).toBe(DEFAULT_COST.penaltyMs);
      // Latency is that of answers; the median is not spoilt.
      expect(meter.load(0, 11).latencyMs).toBe(10);
      expect(meter.medianMs).toBe(10);
      // It fades towards the median: after τ 36.8 % of the difference are left.
      expect(meter.cost(0, 10_011)).toBeCloseTo(10 + 4_990 * Math.exp(-1), 6);
      expect(meter.cost(0, 100_011)).toBeLessThan(10.5);
    },
  );

  it('a failure never lowers a cost that is higher', () => {
    const meter = meterOf('a');
    book(meter, 0, 0, 9_000);
    book(meter, 0, 9_000, 1, 'timeout');
    expect(meter.costMs[0]).toBe(9_000);
  });

  it.each(['cancelled', 'refused'] as const)('learns nothing from %s', (outcome) => {
    const meter = meterOf('a');
    book(meter, 0, 0, 10);
    const before = [meter.costMs[0], meter.costAt[0], meter.load(0, 10).latencyMs];
    book(meter, 0, 20, 30_000, outcome);
    expect([meter.costMs[0], meter.costAt[0], meter.load(0, 10).latencyMs]).toEqual(before);
    expect(meter.live).toBe(0);
  });

  it('keeps the median through every order of samples', () => {
    const meter = meterOf('a', 'b', 'c', 'd', 'e');
    const latest = new Map<number, number>();
    let at = 0;
    for (let k = 0; k < 400; k++) {
      const index = (k * 7) % 5;
      // τ is 10 s: an hour of silence makes each sample the whole average.
      at += 3_600_000;
      const ms = ((k * 2_654_435_761) % 1_000) + 1;
      book(meter, index, at, ms);
      latest.set(index, meter.load(index, at).latencyMs!);
      const sorted = [...latest.values()].sort((x, y) => x - y);
      expect(meter.medianMs).toBe(sorted[(sorted.length - 1) >> 1]);
    }
  });

  it('carries survivors over a resize and lets the departed settle in peace', () => {
    const meter = meterOf('a', 'b', 'c');
    book(meter, 2, 0, 40);
    const a = meter.lease(0, 50);
    const c = meter.lease(2, 50);
    expect([...meter.resize([{ id: 'c', slots: 3, weight: 2, tier: 1 }, { id: 'x' }])]).toEqual([2, -1]);
    expect([...meter.inflight]).toEqual([1, 0]);
    expect(meter.load(0, 50)).toMatchObject({ latencyMs: 40, calls: 2 });
    expect(meter).toMatchObject({ n: 2, weighted: true, tiers: 2, medianMs: 40, live: 2 });
    expect(a.index).toBe(-1);
    expect(a.settle('ok', 60)).toBe(10);
    expect(c.index).toBe(0);
    c.settle('ok', 60);
    expect([...meter.inflight]).toEqual([0, 0]);
    expect(meter.live).toBe(0);
    expect(meter.load(1, 60).latencyMs).toBeUndefined();
  });

  it('believes a connection that counts more than our leases', () => {
    const meter = meterOf('a');
    const lease = meter.lease(0, 0);
    meter.reportLoad(0, 5, 2);
    expect(meter.load(0, 0)).toMatchObject({ inFlight: 5, queued: 2 });
    lease.settle('ok', 1);
    expect(meter.inflight[0]).toBe(4);
    meter.reportLoad(0, 0, 0);
    expect(meter.inflight[0]).toBe(0);
  });
});
