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
