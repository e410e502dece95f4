import { describe, expect, it } from '@jest/globals';
import type { Outcome } from '../../lib/core/outcome.ts';
import { createMetrics, METRICS_WINDOW_MS } from '../../lib/telemetry/metrics.ts';

function create(): { metrics: ReturnType<typeof createMetrics>; pass: (ms: number) => void } {
  let now = 0;
  return { metrics: createMetrics({ now: () => now }), pass: (ms) => void (now += ms) };
}

describe('metrics', () => {
  it('count outcomes per connection', () => {
    const { metrics } = create();
    const connection = metrics.connection('a');
    connection.settled('ok', 1);
    connection.settled('ok', 1);
    connection.settled('timeout', 100);
    expect(metrics.connection('a')).toBe(connection);
    expect(connection.snapshot()).toMatchObject({ total: 3, outcomes: { ok: 2, timeout: 1, cancelled: 0 } });
    expect(metrics.connection('b').snapshot().total).toBe(0);
  });

  it('smooth latency as RFC 6298 does', () => {
    const connection = create().metrics.connection('a');
    expect(connection.latencyMs).toBeUndefined();
    connection.settled('ok', 8);
    expect(connection.latencyMs).toBe(8);
    connection.settled('tool-error', 16);
    expect(connection.latencyMs).toBe(9);
  });

  it.each<[Outcome, boolean]>([
    ['ok', true],
    ['tool-error', true],
    ['app-error', true],
    ['server-error', true],
    ['overload', false],
    ['transport', false],
    ['timeout', false],
    ['refused', false],
    ['cancelled', false],
  ])('%s says something about latency: %s', (outcome, answer) => {
    const connection = create().metrics.connection('a');
    connection.settled(outcome, 5);
    expect(connection.latencyMs).toBe(answer ? 5 : undefined);
    expect(connection.snapshot().total).toBe(1);
  });

  it('drop a latency that is none', () => {
    const connection = create().metrics.connection('a');
    connection.settled('ok', NaN);
    connection.settled('ok', -1);
    expect([connection.latencyMs, connection.snapshot().latency, connection.snapshot().total]).toEqual([
      undefined,
      undefined,
      2,
    ]);
  });

  it('give quantiles of late, and forget them', () => {
    const { metrics, pass } = create();
    const connection = metrics.connection('a');
    for (let i = 1; i <= 100; i++) connection.settled('ok', i);
    const latency = connection.snapshot().latency;
    expect(latency?.p50Ms).toBeGreaterThanOrEqual(50);
    expect(latency?.p50Ms).toBeLessThan(50 * 1.1);
    expect(latency?.p99Ms).toBeGreaterThanOrEqual(99);
    expect(latency?.p99Ms).toBeLessThan(99 * 1.1);
    pass(2 * METRICS_WINDOW_MS);
    expect(connection.snapshot().latency).toEqual({
      ewmaMs: connection.latencyMs,
      p50Ms: undefined,
      p99Ms: undefined,
    });
  });

  it('count over the whole engine, and forget a connection', () => {
    const { metrics } = create();
    metrics.count('retries');
    metrics.count('oddities', 3);
    metrics.connection('__proto__').settled('ok', 1);
    metrics.connection('gone').settled('ok', 1);
    metrics.forget('gone');
    const snapshot = metrics.snapshot();
    expect(snapshot.counters).toMatchObject({ retries: 1, oddities: 3, hedges: 0 });
    expect(Object.keys(snapshot.connections)).toEqual(['__proto__']);
    metrics.count('retries');
    expect(snapshot.counters.retries).toBe(1);
  });
});
