import { describe, expect, it } from '@jest/globals';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const server = (options: object, settings = {}): ReturnType<typeof resolved> =>
  resolved({ command: 'x', ...options }, settings);

describe('layers', () => {
  it('stand or not by default, and on demand', () => {
    const usual = server({});
    expect(
      [usual.retry, usual.breaker, usual.outlier, usual.probe].every((layer) => layer !== undefined),
    ).toBe(true);
    expect(usual.hedge).toBeUndefined();
    const turned = server({ retry: false, breaker: null, hedge: true, outlier: false, probe: false });
    expect([turned.retry, turned.breaker, turned.outlier, turned.probe]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(turned.hedge).toMatchObject({ quantile: 0.95, minSamples: 20, budgetRatio: 0.05 });
  });

  it('take what is given and fill in the rest', () => {
    expect(server({ retry: { retries: 5 } }).retry).toMatchObject({ retries: 5, baseMs: 100, capMs: 2_000 });
    expect(server({ hedge: { minDelayMs: 7 } }).hedge).toMatchObject({ minDelayMs: 7, quantile: 0.95 });
  });

  it('let a default give way that what is written would contradict', () => {
    expect(server({ retry: { baseMs: 5_000 } }).retry).toMatchObject({ baseMs: 5_000, capMs: 5_000 });
    expect(server({ breaker: { openMaxMs: 100 } }).breaker).toMatchObject({ openMs: 100, openMaxMs: 100 });
    expect(serverRefusal({ command: 'x', retry: { baseMs: 10, capMs: 5 } })).toEqual(
      invalidAt('retry.baseMs', /more than capMs/),
    );
  });

  it.each([
    [{ retry: 3 }, 'retry', /true, false or an object/],
    [{ retry: [] }, 'retry', /list/],
    [{ retry: { retires: 3 } }, 'retry.retires', /did you mean retries/],
    [{ retry: { retries: -1 } }, 'retry.retries', /0 to 100/],
    [{ retry: { budgetRatio: 2 } }, 'retry.budgetRatio', /0 to 1/],
    [{ breaker: { failureRatio: 0 } }, 'breaker.failureRatio', /is 0/],
    [{ breaker: { minSamples: 1.5 } }, 'breaker.minSamples', /whole/],
    [{ hedge: { quantile: 1 } }, 'hedge.quantile', /0.9999/],
    [{ probe: { intervalMs: 1 } }, 'probe.intervalMs', /10 to/],
    [{ outlier: { maxEjected: NaN } }, 'outlier.maxEjected', /NaN/],
    [{ limits: { messageBytes: 0 } }, 'limits.messageBytes', /1 or more/],
    [{ limits: { depth: 1e9 } }, 'limits.depth', /10000/],
    [{ limits: { mesageBytes: 1 } }, 'limits.mesageBytes', /did you mean messageBytes/],
    [{ admission: { maxQueue: -1 } }, 'admission.maxQueue', /0 or more/],
    [{ admission: { perTool: 0 } }, 'admission.perTool', /1 or more/],
    [{ restart: { jitter: 1.1 } }, 'restart.jitter', /0 to 1/],
    [{ cache: { tools: { ttlMs: 864e5 + 1 } } }, 'cache.tools.ttlMs', /86400000/],
    [{ cache: { tool: {} } }, 'cache.tool', /did you mean|known here/],
    [{ cache: 3 }, 'cache', /is 3/],
    [{ rateLimit: 0 }, 'rateLimit', /is 0/],
    [{ rateLimit: -1 }, 'rateLimit', /-1/],
    [{ rateLimit: {} }, 'rateLimit.perSecond', /missing/],
    [{ rateLimit: { perSecond: 1, burst: 0 } }, 'rateLimit.burst', /1 or more/],
    [{ stop: { graceMs: 10, eofMs: 20 } }, 'stop.graceMs', /less than/],
  ])('refuse %j at %s', (options, field, problem) => {
    expect(serverRefusal({ command: 'x', ...options })).toEqual(invalidAt(field, problem));
  });
});

describe('rateLimit', () => {
  it.each([
    [5, { perSecond: 5, burst: 5 }],
    [0.5, { perSecond: 0.5, burst: 1 }],
    [
      { perSecond: 2, burst: 9 },
      { perSecond: 2, burst: 9 },
    ],
    [false, undefined],
    [null, undefined],
  ])('%j → %j', (rateLimit, result) => {
    expect(server({ rateLimit }).rateLimit).toEqual(result);
  });
});

describe('stop', () => {
  it.each([
    [{}, { graceMs: 2_000, eofMs: 500, sigtermMs: 500 }],
    [{ graceMs: 400 }, { graceMs: 400, eofMs: 100, sigtermMs: 100 }],
    [{ graceMs: 0 }, { graceMs: 0, eofMs: 0, sigtermMs: 0 }],
    [{ eofMs: 5_000 }, { graceMs: 5_500, eofMs: 5_000, sigtermMs: 500 }],
    [{ graceMs: 10_000 }, { graceMs: 10_000, eofMs: 500, sigtermMs: 500 }],
  ])('%j → %j', (stop, result) => {
    expect(server({ stop }).stop).toEqual(result);
  });
});

describe('cache', () => {
  it('is off, on, or set one by one', () => {
    const off = { ttlMs: 0, maxBytes: 0 };
    expect(server({ cache: false }).cache).toEqual({ lists: off, resources: off, tools: off });
    expect(server({ cache: true }).cache).toEqual(server({}).cache);
    expect(server({ cache: { tools: { ttlMs: 5 }, lists: false } }).cache).toMatchObject({
      tools: { ttlMs: 5, maxBytes: 16 * 1024 * 1024 },
      lists: off,
    });
  });
});

describe('settings of the engine', () => {
  it('hold for servers that do not say otherwise', () => {
    const settings = {
      timeoutMs: 1,
      startTimeoutMs: 2,
      listTimeoutMs: 3,
      limits: { depth: 4, listPages: 5 },
      restart: { intensity: 6 },
      cache: { tools: { ttlMs: 7 } },
    };
    expect(server({}, settings)).toMatchObject({
      ...settings,
      limits: { depth: 4, listPages: 5, schemaRefs: 256 },
    });
    const own = server({ timeoutMs: 9, limits: { depth: 8 } }, settings);
    expect([own.timeoutMs, own.limits.depth, own.limits.listPages]).toEqual([9, 8, 5]);
  });
});
