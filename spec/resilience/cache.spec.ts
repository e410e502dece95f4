import { describe, expect, it } from '@jest/globals';
import type { Response } from '../../lib/core/interceptor.ts';
import type { Request } from '../../lib/core/request.ts';
import { type CachePolicy, MAX_TTL_MS, cache, createCache } from '../../lib/resilience/cache.ts';
import { failure, heldHandler, readOf, requestOf, scriptedHandler } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const RULE = { ttlMs: 0, maxBytes: 1_000_000 };
const HINTS_ONLY: CachePolicy = { lists: RULE, resources: RULE, tools: RULE };

function bench(policy: Partial<CachePolicy> = {}) {
  const clock = createVirtualClock();
  const memory = createCache({ clock, policy: { ...HINTS_ONLY, ...policy } });
  const through = cache({ of: (request) => (request.server === 'alpha' ? memory : undefined) });
  return { clock, memory, through };
}

const fresh = (value: unknown, more: Response = {}): Response => ({
  contents: [value],
  ttlMs: 10_000,
  ...more,
});
const list = (change: Partial<Request> = {}): Request =>
  requestOf({ method: 'tools/list', params: {}, target: undefined, operation: 'read', ...change });
const as = (id: string): Partial<Request> => ({ principal: { id } });

describe('cache', () => {
  it('answers from memory as long as the server said, and says so', async () => {
    const { clock, memory, through } = bench();
    const below = scriptedHandler(fresh('a'), fresh('b'));
    const handler = through(below);
    const first = readOf('file:///a');
    await expect(handler(first)).resolves.toEqual(fresh('a'));
    expect(first.facts.cache).toBe('miss');
    await clock.advance(9_999);
    const second = readOf('file:///a');
    await expect(handler(second)).resolves.toEqual(fresh('a'));
    expect(second.facts.cache).toBe('hit');
    expect([memory.entries, below.requests.length]).toEqual([1, 1]);
    await clock.advance(1);
    await expect(handler(readOf('file:///a'))).resolves.toEqual(fresh('b'));
  });

  it('without a hint the time of the store counts, 0 by default', async () => {
    const none = bench();
    await none.through(scriptedHandler({ contents: [] }))(readOf('a:1'));
    expect(none.memory.entries).toBe(0);

    const some = bench({ resources: { ...RULE, ttlMs: 500 } });
    const below = scriptedHandler({ contents: [1] }, { contents: [2] });
    await some.through(below)(readOf('a:1'));
    await some.clock.advance(499);
    await expect(some.through(below)(readOf('a:1'))).resolves.toEqual({ contents: [1] });
    await some.clock.advance(1);
    await expect(some.through(below)(readOf('a:1'))).resolves.toEqual({ contents: [2] });
  });

  it.each([
    [-5, 0],
    [0, 0],
    [Infinity, MAX_TTL_MS],
    [365 * 86_400_000, MAX_TTL_MS],
    [1_000, 1_000],
  ])('a ttlMs of %d is %d', async (ttlMs, expected) => {
    const { clock, memory, through } = bench({ resources: { ...RULE, ttlMs: 777 } });
    const below = scriptedHandler(fresh('a', { ttlMs }), fresh('b', { ttlMs }));
    await through(below)(readOf('a:1'));
    expect(memory.entries).toBe(expected === 0 ? 0 : 1);
    await clock.advance(Math.max(0, expected - 1));
    await through(below)(readOf('a:1'));
    expect(below.requests).toHaveLength(expected === 0 ? 2 : 1);
    await clock.advance(1);
    await through(below)(readOf('a:1'));
    expect(below.requests).toHaveLength(expected === 0 ? 3 : 2);
  });

  it('a private result is for its principal only, a public one for all', async () => {
    const { through } = bench();
    for (const [scope, calls] of [
      ['private', 4],
      [undefined, 4],
      ['everyone', 4],
      ['public', 1],
    ] as const) {
      const below = scriptedHandler(fresh('a', scope === undefined ? {} : { cacheScope: scope }));
      const handler = through(below);
      const uri = `a:${String(scope)}`;
      for (const who of [as('ann'), as('bob'), {}, as('-'), as('ann')]) await handler(readOf(uri, who));
      expect([scope, below.requests.length]).toEqual([scope, calls]);
    }
  });

  it('keeps apart what is asked differently', async () => {
    const { through } = bench();
    const below = scriptedHandler(fresh('a'));
    const handler = through(below);
    await handler(list());
    await handler(list({ params: { cursor: '2' } }));
    await handler(list({ method: 'prompts/list' }));
    await handler(readOf('a:1'));
    await handler(list({ server: 'beta' }));
    await handler(list());
    expect(below.requests).toHaveLength(5);
  });

  it('refresh asks and keeps, bypass asks and does not', async () => {
    const { through } = bench();
    const below = scriptedHandler(fresh('a'), fresh('b'), fresh('c'));
    const handler = through(below);
    await handler(readOf('a:1'));
    await expect(handler(readOf('a:1', { cache: 'refresh' }))).resolves.toEqual(fresh('b'));
    const bypassing = readOf('a:1', { cache: 'bypass' });
    await expect(handler(bypassing)).resolves.toEqual(fresh('c'));
    expect(bypassing.facts.cache).toBeUndefined();
    await expect(handler(readOf('a:1'))).resolves.toEqual(fresh('b'));
  });

  it('tools only where the operator allows it, and never longer than that', async () => {
    const answer = { content: [], ttlMs: 60_000 };
    const call = (change: Partial<Request> = {}): Request => requestOf({ operation: 'read-only', ...change });
    const off = bench();
    await off.through(scriptedHandler(answer))(call());
    expect(off.memory.entries).toBe(0);

    const on = bench({
      tools: { ...RULE, ttlMs: 1_000 },
      cacheTool: (request) => request.target === 'alpha__pure',
    });
    const below = scriptedHandler(answer);
    const handler = on.through(below);
    await handler(call());
    await handler(call());
    expect(below.requests).toHaveLength(1);
    await on.clock.advance(1_000);
    await handler(call());
    expect(below.requests).toHaveLength(2);
    await handler(call({ operation: 'idempotent' }));
    await handler(call({ operation: 'unsafe' }));
    expect(below.requests).toHaveLength(4);
    for (let i = 0; i < 2; i++)
      await handler(call({ operation: 'unsafe', target: 'alpha__pure', params: { name: 'pure' } }));
    expect(below.requests).toHaveLength(5);
  });

  it('is no layer for what is never kept', () => {
    const answer = Promise.resolve({});
    const { through } = bench();
    const handler = through(() => answer);
    for (const request of [
      requestOf(),
      list({ server: 'beta' }),
      list({ cache: 'bypass' }),
      requestOf({ method: 'prompts/get', operation: 'read' }),
      readOf('a:1', { params: { uri: 'a:1', requestState: 's' } }),
      readOf('a:1', { params: { uri: 'a:1', inputResponses: {} } }),
    ]) {
      expect(handler(request)).toBe(answer);
    }
    const off = bench({ resources: { ttlMs: 1_000, maxBytes: 0 } });
    expect(off.through(() => answer)(readOf('a:1'))).toBe(answer);
  });

  it('keeps no errors, no failed tools, nothing that asked back', async () => {
    const { memory, through } = bench({ tools: { ...RULE, ttlMs: 1_000 } });
    const handler = (outcome: Response | Error) => through(scriptedHandler(outcome));
    await handler(failure('not_found'))(readOf('a:1')).catch(() => {});
    await handler({ isError: true, content: [] })(requestOf({ operation: 'read-only' }));
    await handler(fresh('a', { resultType: 'input_required' }))(readOf('a:2'));
    await through(async (request) => {
      request.facts.rounds++;
      return fresh('a');
    })(readOf('a:3'));
    expect(memory.entries).toBe(0);
    await handler(fresh('a', { resultType: 'complete' }))(readOf('a:4'));
    expect(memory.entries).toBe(1);
  });

  it('list_changed and updated take effect at once', async () => {
    const { memory, through } = bench();
    const below = scriptedHandler(fresh('a'));
    const handler = through(below);
    const fill = async (): Promise<void> => {
      for (const request of [
        list(),
        list({ method: 'prompts/list' }),
        readOf('a:1'),
        readOf('a:1', as('ann')),
        readOf('a:2'),
      ]) {
        await handler(request);
      }
    };
    await fill();
    expect(memory.entries).toBe(5);
    memory.invalidate({ uri: 'a:1' });
    expect(memory.entries).toBe(3);
    memory.invalidate({ uri: 'a:unknown' });
    memory.invalidate({ method: 'tools/list' });
    expect(memory.entries).toBe(2);
    memory.invalidate({ method: 'resources/read' });
    expect(memory.entries).toBe(1);
    await fill();
    memory.invalidate();
    expect([memory.entries, memory.bytes]).toEqual([0, 0]);
  });

  it('does not keep an answer that was on its way when it became invalid', async () => {
    const { clock, memory, through } = bench();
    const below = heldHandler();
    const outcome = through(below)(readOf('a:1'));
    memory.invalidate({ uri: 'a:1' });
    below.calls[0]?.reply(fresh('old'));
    await expect(outcome).resolves.toEqual(fresh('old'));
    await clock.flush();
    expect(memory.entries).toBe(0);
  });

  it('a stale result stands in when the server cannot be asked, for a while', async () => {
    const { clock, through } = bench({ staleIfErrorMs: 5_000 });
    const below = scriptedHandler(
      fresh('a'),
      failure('connection_lost', { delivery: 'sent' }),
      failure('not_found'),
      failure('circuit_open'),
    );
    const handler = through(below);
    await handler(readOf('a:1'));
    await clock.advance(14_999);
    const request = readOf('a:1');
    await expect(handler(request)).resolves.toEqual(fresh('a'));
    expect(request.facts.cache).toBe('stale');
    // What the server answers is an answer.
    await expect(handler(readOf('a:1'))).rejects.toMatchObject({ code: 'not_found' });
    await expect(handler(readOf('a:1', { cache: 'refresh' }))).rejects.toMatchObject({
      code: 'circuit_open',
    });
    await clock.advance(1);
    await expect(handler(readOf('a:1'))).rejects.toMatchObject({ code: 'circuit_open' });
  });

  it('stays within its bytes, the least recently used going first', async () => {
    const { memory, through } = bench({ resources: { ttlMs: 1e6, maxBytes: 10_000 } });
    const handler = through(async (request) => ({
      contents: [{ uri: request.target, text: 'x'.repeat(1_500) }],
    }));
    for (let i = 0; i < 50; i++) {
      await handler(readOf('a:kept'));
      await handler(readOf(`a:${i}`));
      expect(memory.bytes).toBeLessThanOrEqual(10_000);
    }
    const kept = readOf('a:kept');
    await handler(kept);
    expect(kept.facts.cache).toBe('hit');
    const gone = readOf('a:0');
    await handler(gone);
    expect(gone.facts.cache).toBe('miss');
    // Larger than the store: not kept, and nothing else is lost for it.
    const { entries } = memory;
    await through(scriptedHandler({ contents: ['x'.repeat(20_000)] }))(readOf('a:huge'));
    expect(memory.entries).toBe(entries);
  });

  it('what one caller does to a result is seen by nobody else', async () => {
    const { through } = bench();
    const own = fresh({ text: 'a' }) as { contents: unknown[] };
    const handler = through(scriptedHandler(own));
    const first = (await handler(readOf('a:1'))) as { contents: unknown[] };
    first.contents.push('mine');
    const second = (await handler(readOf('a:1'))) as { contents: unknown[] };
    expect(second).toEqual(fresh({ text: 'a' }));
    expect(() => second.contents.push('mine')).toThrow(TypeError);
    expect(() => Object.assign(second.contents[0] as object, { text: 'b' })).toThrow(TypeError);
  });

  it('a result that is not JSON is handed on and not kept', async () => {
    const { memory, through } = bench();
    const odd = fresh(1n);
    await expect(through(scriptedHandler(odd))(readOf('a:1'))).resolves.toBe(odd);
    expect(memory.entries).toBe(0);
  });
});
