import { describe, expect, it } from '@jest/globals';
import { failureOf, hostHearsNothing, textOf } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const said = (text: string) => ({ content: [{ type: 'text', text }] });

describe('the servers that a caller allows', () => {
  it('are the only ones that a tool is looked for at; none of them is nobody', async () => {
    const { engine, peers } = fleet({ a: { tools: ['t'] }, b: { tools: ['t', 'u'] }, c: { tools: ['v'] } });
    await engine.start();
    await engine.listTools();
    for (const name of ['a', 'b', 'c'] as const) peers[name].answer('tools/call', said(name));
    expect(await textOf(engine.callTool('t', {}, { servers: ['b', 'c'] }))).toBe('b');
    expect(await failureOf(engine.callTool('t', {}, { servers: ['a', 'b'] }))).toMatchObject({
      code: 'ambiguous_name',
    });
    for (const [name, servers] of [
      ['a__t', ['b', 'c']],
      ['u', ['a', 'c']],
      ['a__t', []],
      ['u', []],
    ] as const)
      expect(await failureOf(engine.callTool(name, {}, { servers }))).toMatchObject({ code: 'not_found' });
  });

  it('are the only ones that a resource is read from', async () => {
    const { engine, got } = fleet({ a: { resources: ['x://1'] }, b: { resources: ['x://2'] }, c: {} });
    await engine.start();
    await engine.listResources();
    const outside = engine.readResource('x://1', { servers: [], timeoutMs: 2_000 });
    expect(await failureOf(outside)).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    expect(got('a', 'resources/read')).toEqual([]);
  });

  it('are the only ones that are watched', async () => {
    const { engine, peers } = fleet({
      c: { resources: ['x://1'] },
      a: { resources: ['x://1'] },
      b: { resources: ['x://1'] },
    });
    for (const name of ['a', 'b', 'c'] as const) peers[name].answer('resources/subscribe', {});
    await engine.start();
    await engine.listResources();
    const watched = await engine.subscribeResource('x://1', () => {}, { servers: ['a', 'b'] });
    expect(watched.server).toBe('a');
    for (const servers of [[], ['nope', 'nada']])
      expect(await failureOf(engine.subscribeResource('x://1', () => {}, { servers }))).toMatchObject({
        code: 'not_found',
      });
  });

  it('give the call its time, and not one that is left out', async () => {
    const { engine, peers } = fleet({
      quick: { resources: ['x://1'], config: { timeoutMs: 50 } },
      slow: { resources: ['x://1'], config: { timeoutMs: 5_000 } },
      third: { config: { timeoutMs: 5_000 } },
    });
    peers.slow.answer('resources/read', () => new Promise((r) => void setTimeout(r, 200, { contents: [] })));
    await engine.start();
    await engine.listResources();
    expect(await engine.readResource('x://1', { servers: ['slow', 'third'] })).toEqual({ contents: [] });
  });

  it.each([
    ['nope', 'nada'],
    ['secret', 'nada'],
    ['secret', 'secret2'],
  ])('are told apart from hidden ones by nothing (%s, %s)', async (...servers) => {
    const { engine } = fleet(
      { open: { tools: ['t'] }, secret: { tools: ['t'], resources: ['x://1'] }, secret2: {} },
      { policy: [{ effect: 'allow', principals: ['bob'], servers: ['open'] }] },
    );
    await engine.start();
    const bob = { principal: 'bob', servers, timeoutMs: 2_000 };
    const said = await Promise.all(
      [
        engine.callTool('t', {}, bob),
        engine.readResource('x://1', bob),
        engine.request({ method: 'vendor/thing' }, bob),
      ].map(failureOf),
    );
    for (const error of said) expect(error.message).toBe('[not_found] `servers` names no server there is');
  });
});

describe('the first answer of several servers', () => {
  it('is the first that succeeds: a tool that says that it failed is none, where another does better', async () => {
    const { engine, peers } = fleet({ a: { tools: ['t'] }, b: { tools: ['t'] } });
    await engine.start();
    await engine.listTools();
    const failed = { ...said('no such thing'), isError: true };
    peers.a.answer('tools/call', failed);
    peers.b.answer('tools/call', () => new Promise((r) => void setTimeout(r, 20, said('b'))));
    const ask = { method: 'tools/call', params: { name: 't' }, mode: 'first' } as const;
    expect(await engine.aggregate(ask)).toMatchObject({ result: said('b'), failures: [] });
    peers.b.answer('tools/call', failed);
    expect(await engine.aggregate(ask)).toMatchObject({ result: failed, failures: [] });
  });
});

describe('a tool that the configuration leaves out', () => {
  it('is not there, by whatever way it is asked for', async () => {
    const { engine, peers, got } = fleet({
      s: { tools: ['safe', 'danger'], config: { excludeTools: ['danger'] } },
      other: { tools: ['o'] },
    });
    await engine.start();
    await engine.listTools();
    peers.s.answer('tools/call', said('ran'));
    const call = { method: 'tools/call', params: { name: 'danger' } };
    const refused = { code: 'not_found', delivery: 'unsent' };
    expect(await failureOf(engine.callTool('s__danger'))).toMatchObject(refused);
    expect(await failureOf(engine.callTool('danger', {}, { servers: ['s'] }))).toMatchObject(refused);
    expect(await failureOf(engine.request({ ...call, server: 's' }))).toMatchObject(refused);
    expect(await engine.batch([{ ...call, server: 's' }])).toMatchObject([{ ok: false, error: refused }]);
    expect((await engine.aggregate({ ...call, servers: ['s'] })).failures).toMatchObject([
      { server: 's', error: refused },
    ]);
    expect(got('s', 'tools/call')).toEqual([]);
    const { tools } = await engine.request({ method: 'tools/list', server: 's' });
    expect(tools).toMatchObject([{ name: 'safe' }]);
    expect(await textOf(engine.callTool('s__safe'))).toBe('ran');
  });
});
