import { describe, expect, it } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import { failureOf, hostHearsNothing, textOf, until } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const said = (text: string) => ({ content: [{ type: 'text', text }] });
const echo = { tools: ['echo'] };
const slowly = { restart: { baseMs: 60_000, capMs: 60_000, jitter: 0 }, retry: false } as const;
const like = (...equivalentTo: string[]): { config: ServerConfig } => ({
  config: { ...slowly, equivalentTo },
});

describe('a server that cannot take a request', () => {
  it('is stood in for by those declared equivalent: who could answer now before who must be waited for', async () => {
    let out = false;
    const { engine, peers, got } = fleet({
      a: { ...echo, ...like('down', 'b', 'c'), down: () => (out ? 'gone' : undefined) },
      down: { config: slowly, down: () => 'never was' },
      b: echo,
      c: echo,
    });
    await engine.start();
    await engine.listTools();
    peers.b.answer('tools/call', said('b'));
    out = true;
    peers.a.close();
    await until(() => engine.connection('a').state === 'Error', 'the loss');
    expect(await textOf(engine.callTool('a__echo', { n: 1 }))).toBe('b');
    expect(got('b', 'tools/call')).toMatchObject([{ name: 'echo', arguments: { n: 1 } }]);
    expect(got('c', 'tools/call')).toEqual([]);
  });

  it('is stood in for by the next one, when the first stand-in cannot either', async () => {
    const out = new Set<string>();
    const down = (name: string) => ({ down: () => (out.has(name) ? 'gone' : undefined) });
    const { engine, peers } = fleet({
      a: { ...echo, ...like('b', 'c'), ...down('a') },
      b: { ...echo, config: slowly, ...down('b') },
      c: echo,
    });
    await engine.start();
    await engine.listTools();
    peers.c.answer('tools/call', said('c'));
    for (const name of ['a', 'b'] as const) {
      out.add(name);
      peers[name].close();
      await until(() => engine.connection(name).state === 'Error', 'the loss');
    }
    expect(await textOf(engine.callTool('a__echo'))).toBe('c');
  });

  it('that has had it does not say that it never left, when the stand-in cannot take it', async () => {
    const { engine, peers } = fleet({
      a: { ...echo, ...like('b') },
      b: { ...echo, config: slowly, down: () => 'never was' },
    });
    await engine.start();
    await engine.listTools();
    peers.a.answer('tools/call', () => {
      peers.a.close();
      return new Promise(() => {});
    });
    const failure = await failureOf(engine.callTool('a__echo', {}, { idempotent: true, timeoutMs: 500 }));
    expect(failure.delivery).toBe('sent');
  });

  it('says itself why, when nobody can', async () => {
    let out = false;
    const down = { down: () => (out ? 'the cable is out' : undefined) };
    const { engine, peers } = fleet({
      a: { ...echo, ...like('b'), ...down },
      b: { ...echo, config: slowly, ...down },
    });
    await engine.start();
    await engine.listTools();
    out = true;
    peers.a.close();
    peers.b.close();
    await until(() => engine.fleet.connections.every(({ state }) => state === 'Error'), 'both losses');
    // Until it is back or the time is over.
    expect(await failureOf(engine.callTool('a__echo', {}, { timeoutMs: 500 }))).toMatchObject({
      code: 'deadline_exceeded',
      server: 'a',
      delivery: 'unsent',
    });
  });
});

describe('a request that was sent', () => {
  it('is asked of another when it only reads', async () => {
    const memo = { resources: ['memo://x'] };
    const { engine, peers } = fleet({ a: { ...memo, ...like('b') }, b: memo });
    await engine.start();
    await engine.listResources();
    peers.b.answer('resources/read', { contents: [{ uri: 'memo://x', text: 'b' }] });
    const read = engine.readResource('memo://x');
    await peers.a.expectRequest('resources/read').die();
    expect(await read).toMatchObject({ contents: [{ text: 'b' }] });
  });

  it('is not when it may have done something', async () => {
    const { engine, peers, got } = fleet({ a: { ...echo, ...like('b') }, b: echo });
    await engine.start();
    await engine.listTools();
    const outcome = failureOf(engine.callTool('a__echo'));
    await peers.a.expectRequest('tools/call').die();
    expect(await outcome).toMatchObject({ code: 'outcome_unknown', delivery: 'sent', server: 'a' });
    expect(got('b', 'tools/call')).toEqual([]);
  });

  it('is not when it was answered, be it with an error', async () => {
    const { engine, peers, got } = fleet({ a: { ...echo, ...like('b') }, b: echo });
    await engine.start();
    await engine.listTools();
    const outcome = failureOf(engine.callTool('a__echo', {}, { idempotent: true }));
    await peers.a.expectRequest('tools/call').fail(-32603, 'disk on fire');
    expect(await outcome).toMatchObject({ delivery: 'answered', server: 'a' });
    expect(got('b', 'tools/call')).toEqual([]);
  });

  it('is not when nobody waits for it any longer', async () => {
    const { engine, peers, got } = fleet({ a: { ...echo, ...like('b') }, b: echo });
    await engine.start();
    await engine.listTools();
    const aborter = new AbortController();
    const outcome = failureOf(engine.callTool('a__echo', {}, { signal: aborter.signal, idempotent: true }));
    await peers.a.expectRequest('tools/call').hang();
    aborter.abort();
    expect(await outcome).toMatchObject({ code: 'cancelled' });
    expect(got('b', 'tools/call')).toEqual([]);
  });
});

describe('a stand-in', () => {
  it('that the policy forbids is passed over like one that is down', async () => {
    let out = false;
    const { engine, peers, got } = fleet(
      {
        a: { ...echo, ...like('b', 'c'), down: () => (out ? 'gone' : undefined) },
        b: echo,
        c: echo,
      },
      {
        policy: [
          { id: 'closed', effect: 'deny', operations: ['tools.call'], servers: ['b'] },
          { id: 'open', effect: 'allow' },
        ],
      },
    );
    await engine.start();
    await engine.listTools();
    peers.c.answer('tools/call', said('c'));
    out = true;
    peers.a.close();
    await until(() => engine.connection('a').state === 'Error', 'the loss');
    expect(await textOf(engine.callTool('a__echo'))).toBe('c');
    expect(got('b', 'tools/call')).toEqual([]);
  });

  it('that was removed is asked no longer', async () => {
    let out = false;
    const { engine, peers, got } = fleet({
      a: { ...echo, ...like('b'), down: () => (out ? 'gone' : undefined) },
      b: echo,
    });
    await engine.start();
    await engine.listTools();
    await engine.remove('b');
    out = true;
    peers.a.close();
    await until(() => engine.connection('a').state === 'Error', 'the loss');
    const outcome = failureOf(engine.callTool('a__echo', {}, { timeoutMs: 500 }));
    expect(await outcome).toMatchObject({ code: 'deadline_exceeded', server: 'a', delivery: 'unsent' });
    expect(got('b', 'tools/call')).toEqual([]);
  });
});
