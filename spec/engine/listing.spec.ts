import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import { expire, unless } from '../../lib/engine/listing.ts';
import { failureOf, hostHearsNothing, isConnected, timeOf, until } from '../support/engines.ts';
import { collectGarbage } from '../support/garbage.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const echo = { tools: ['echo'] };
const slowly = { restart: { baseMs: 60_000, capMs: 60_000, jitter: 0 } };

describe('the lists of a server', () => {
  it('are waited for while it connects', async () => {
    const { engine, peers } = fleet({ late: { ...echo, handshake: false } });
    void engine.start();
    const listing = engine.listTools();
    await peers.late.expectRequest('initialize').reply({
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'late', version: '1' },
    });
    expect(await listing).toMatchObject({ items: [{ name: 'late__echo' }], failures: [] });
  });

  it('are not waited for once it has failed: it is named with its cause, the others are there', async () => {
    const { engine } = fleet({ down: { config: slowly, down: () => 'the cable is out' }, well: echo });
    await engine.start();
    let result: Awaited<ReturnType<typeof engine.listTools>> | undefined;
    const elapsed = await timeOf(async () => {
      result = await engine.listTools();
    });
    expect(result?.items.map(({ name }) => name)).toEqual(['well__echo']);
    expect(result?.failures).toMatchObject([
      { server: 'down', error: { code: 'unavailable', server: 'down' } },
    ]);
    expect(result?.failures[0]?.error.message).toContain('the cable is out');
    expect(elapsed).toBeLessThan(10_000);
  });

  it('stay as they were last known when it is lost, marked stale', async () => {
    let out = false;
    const { engine, peers } = fleet({
      a: { ...echo, config: slowly, down: () => (out ? 'gone' : undefined) },
    });
    await engine.start();
    expect(await engine.listTools()).toMatchObject({ items: [{ name: 'a__echo' }], failures: [] });
    out = true;
    peers.a.close();
    await until(() => engine.connection('a').state === 'Error', 'the loss');
    expect(await engine.listTools()).toMatchObject({
      items: [{ name: 'a__echo', stale: true }],
      failures: [{ server: 'a', error: { code: 'connection_lost' } }],
    });
  });

  it('that say again what they said are no change, and stay the objects that they were', async () => {
    let title = 'one';
    const { engine, peers, got } = fleet({ a: { tools: ['echo', 'other'] }, b: echo });
    peers.a.answer('tools/list', () => ({
      tools: ['echo', 'other'].map((name) => ({ name, inputSchema: { type: 'object' } })),
    }));
    peers.b.answer('tools/list', () => ({ tools: [{ name: 't', title, inputSchema: { type: 'object' } }] }));
    await engine.start();
    const before = await engine.listTools();
    const changed: string[] = [];
    engine.on('catalog.changed', ({ server }) => changed.push(server));
    const again = await engine.listTools({ cache: 'refresh' });
    expect(got('a', 'tools/list')).toHaveLength(2);
    expect(again.items).toBe(before.items);
    expect(changed).toEqual([]);
    title = 'two';
    const { items } = await engine.listTools({ cache: 'refresh' });
    expect(changed).toEqual(['b']);
    expect(items.map((item) => item['title'])).toEqual([undefined, undefined, 'two']);
    expect(items[0]).toBe(before.items[0]);
  });

  it('that a server of this process changes in place are a change', async () => {
    const { engine, peers } = fleet({ a: echo });
    const schema = { type: 'object', properties: {} as Record<string, object> };
    const held = [{ name: 'echo', inputSchema: schema }];
    peers.a.answer('tools/list', () => ({ tools: held }));
    await engine.start();
    await engine.listTools();
    let changed = 0;
    engine.on('catalog.changed', () => (changed += 1));
    schema.properties['more'] = { type: 'string' };
    const { items } = await engine.listTools({ cache: 'refresh' });
    expect(changed).toBe(1);
    expect(items[0]).toMatchObject({ inputSchema: { properties: { more: { type: 'string' } } } });
    // Another wrapper around the same.
    peers.a.answer('tools/list', () => ({ tools: held.map((tool) => ({ ...tool })) }));
    await engine.listTools({ cache: 'refresh' });
    expect(changed).toBe(2);
  });

  it('are not asked for any more once the caller has gone', async () => {
    const names = Array.from({ length: 200 }, (_, i) => `s${i}`);
    const { engine, got } = fleet(Object.fromEntries(names.map((name) => [name, echo])));
    await engine.start();
    await engine.listTools();
    const asked = (): number => names.filter((name) => got(name, 'tools/list').length > 1).length;
    const aborter = new AbortController();
    const listing = engine.listTools({ cache: 'refresh', signal: aborter.signal });
    aborter.abort();
    await expect(listing).rejects.toMatchObject({ code: 'cancelled' });
    await new Promise((resolve) => void setTimeout(resolve, 20));
    expect(asked()).toBeGreaterThan(0);
    expect(asked()).toBeLessThan(100);
    expect((await engine.listTools({ cache: 'refresh' })).failures).toEqual([]);
    expect(asked()).toBe(200);
  });

  it('that say again what they said are not held twice', async () => {
    const { engine, peers } = fleet({ a: echo });
    const sent: Array<WeakRef<object>> = [];
    peers.a.answer('tools/list', () => {
      const tool = { name: 'echo', inputSchema: { type: 'object' } };
      sent.push(new WeakRef(tool));
      return { tools: [tool] };
    });
    await engine.start();
    await engine.listTools();
    for (let i = 0; i < 5; i += 1) await engine.listTools({ cache: 'refresh' });
    // What a turn has seen of a weak reference stays until its end.
    await new Promise((resolve) => void setTimeout(resolve, 10));
    collectGarbage();
    expect(sent).toHaveLength(6);
    expect(sent.filter((tool) => tool.deref() !== undefined)).toHaveLength(1);
  });

  it('wake one that rests, the first time', async () => {
    const { engine } = fleet({ lazy: { ...echo, config: { lazy: true } } });
    await engine.start();
    expect(isConnected(engine, 'lazy')).toBe(false);
    expect(await engine.listTools()).toMatchObject({ items: [{ name: 'lazy__echo' }], failures: [] });
    expect(isConnected(engine, 'lazy')).toBe(true);
  });

  it('do not wake one that rests and whose lists are known', async () => {
    const { engine, peers, got } = fleet(
      { first: echo, second: { ...echo, config: { lazy: true } } },
      { pool: { maxConnections: 1 } },
    );
    await engine.start();
    await engine.listTools({ servers: ['first'] });
    // Takes the only place.
    await engine.listTools({ servers: ['second'] });
    await until(() => engine.connection('first').state === 'Disconnected', 'the eviction');
    const asked = got('first', 'tools/list').length;
    expect(await engine.listTools()).toMatchObject({
      items: [{ name: 'first__echo' }, { name: 'second__echo' }],
      failures: [],
    });
    expect([peers.first.connections, got('first', 'tools/list').length]).toEqual([1, asked]);
  });

  it('that do not come in time are a failure of that server alone', async () => {
    const { engine, peers } = fleet({ mute: echo, well: echo }, { listTimeoutMs: 60_000 });
    void peers.mute.expectRequest('tools/list').hang();
    void engine.start();
    const { items, failures } = await engine.listTools({ timeoutMs: 2_000 });
    expect(items.map(({ name }) => name)).toEqual(['well__echo']);
    expect(failures).toMatchObject([
      { server: 'mute', error: { code: 'deadline_exceeded', server: 'mute' } },
    ]);
  });

  it('are asked for once by all who ask at the same time', async () => {
    const { engine, got } = fleet({ a: echo });
    await engine.start();
    await Promise.all([engine.listTools(), engine.listTools(), engine.listTools()]);
    expect(got('a', 'tools/list')).toHaveLength(1);
  });
});

describe('unless', () => {
  it('settles as the promise does, and listens no longer afterwards', async () => {
    const cancellation = new Cancellation();
    expect(await unless(cancellation, Promise.resolve(7))).toBe(7);
    await expect(unless(cancellation, Promise.reject(new Error('no')))).rejects.toThrow('no');
    cancellation.cancel(new TroupeError('cancelled', 'later'));
  });

  it('rejects with the reason when that comes first, and at once when it was there before', async () => {
    const cancellation = new Cancellation();
    const reason = new TroupeError('cancelled', 'enough');
    const waiting = failureOf(unless(cancellation, new Promise(() => {})));
    cancellation.cancel(reason);
    expect(await waiting).toBe(reason);
    expect(await failureOf(unless(cancellation, new Promise(() => {})))).toBe(reason);
  });
});

describe('expire', () => {
  it('ends the work when its time is over, saying what took so long', async () => {
    const clock = createVirtualClock();
    const cancellation = new Cancellation();
    expire(clock, cancellation, 500, 'counting sheep');
    await clock.advance(499);
    expect(cancellation.cancelled).toBe(false);
    await clock.advance(1);
    expect(cancellation.reason).toMatchObject({ code: 'deadline_exceeded' });
    expect(cancellation.reason?.message).toContain('counting sheep took longer than 500 ms');
  });

  it('leaves nothing behind when it is taken back', async () => {
    const clock = createVirtualClock();
    const cancellation = new Cancellation();
    expire(clock, cancellation, 500, 'counting sheep')();
    expect(clock.armed).toBe(0);
    await clock.advance(1_000);
    expect(cancellation.cancelled).toBe(false);
  });
});
