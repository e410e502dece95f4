import { describe, expect, it } from '@jest/globals';
import type { Json } from '../../lib/core/json-rpc.ts';
import { failureOf, hostHearsNothing, textOf, until } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const said = (text: string) => ({ content: [{ type: 'text', text }] });

/** Answers the list only when told to. */
function held(result: Json): { readonly answer: () => Promise<Json>; readonly release: () => void } {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  return { answer: () => released.then(() => result), release: () => release() };
}

describe('before every server has said what it has', () => {
  it('a resource is not read where only a template fits, nor watched there', async () => {
    const { engine, peers, got } = fleet({
      a: { resources: [], resourceTemplates: [{ uriTemplate: 'mem://{name}', name: 'all' }] },
      b: { resources: [], resourceTemplates: [] },
    });
    const list = held({ resources: [{ uri: 'mem://two', name: 'two' }] });
    peers.b.answer('resources/list', list.answer);
    for (const name of ['a', 'b'] as const) {
      peers[name].answer('resources/read', { contents: [{ uri: 'mem://two', text: name }] });
      peers[name].answer('resources/subscribe', {});
    }
    await engine.start();
    await engine.listResourceTemplates();
    const read = engine.readResource('mem://two');
    const watched = engine.subscribeResource('mem://two', () => {});
    await new Promise((resolve) => void setTimeout(resolve, 20));
    list.release();
    expect(await read).toMatchObject({ contents: [{ text: 'b' }] });
    expect((await watched).server).toBe('b');
    expect(got('a', 'resources/read')).toEqual([]);
  });

  it('a bare name is not taken for the only one', async () => {
    const { engine, peers } = fleet({ a: { tools: ['t'] }, b: {} });
    const list = held({ tools: [{ name: 't', inputSchema: { type: 'object' } }] });
    peers.b.answer('tools/list', list.answer);
    peers.a.answer('tools/call', said('a'));
    await engine.start();
    await engine.listPrompts();
    const called = failureOf(engine.callTool('t'));
    await new Promise((resolve) => void setTimeout(resolve, 20));
    // Its own name means one thing only, whoever else lists.
    expect(await textOf(engine.callTool('a__t'))).toBe('a');
    list.release();
    expect(await called).toMatchObject({ code: 'ambiguous_name' });
  });

  it('a server that hangs over a list keeps nobody waiting for what others have', async () => {
    const { engine, peers } = fleet({
      good: { tools: ['t'], resources: ['doc://a'] },
      hangs: { tools: ['u'], resources: ['bad://x'] },
    });
    for (const method of ['tools/list', 'resources/list'])
      peers.hangs.answer(method, () => new Promise<Json>(() => {}));
    peers.good.answer('tools/call', said('good'));
    peers.good.answer('resources/read', { contents: [{ uri: 'doc://a', text: 'good' }] });
    await engine.start();
    await engine.listTools({ servers: ['good'] });
    await engine.listResources({ servers: ['good'] });
    // Listed by its URI at the one that is declared first: there is nothing to wait for.
    const from = performance.now();
    expect(await engine.readResource('doc://a')).toMatchObject({ contents: [{ text: 'good' }] });
    expect(performance.now() - from).toBeLessThan(900);
    // Of a bare name it might say that it has it too; but it had its time for that.
    expect(await textOf(engine.callTool('t', {}, { timeoutMs: 5_000 }))).toBe('good');
    const again = performance.now();
    expect(await textOf(engine.callTool('t', {}, { timeoutMs: 5_000 }))).toBe('good');
    expect(performance.now() - again).toBeLessThan(900);
  });

  it('a bare name that nobody has is not said to be nowhere while one is down that never told', async () => {
    const { engine } = fleet({
      a: { tools: ['t'] },
      down: { down: () => 'the cable is out', config: { restart: { baseMs: 60_000, capMs: 60_000 } } },
    });
    await engine.start();
    await engine.listTools();
    const failure = await failureOf(engine.callTool('u', {}, { timeoutMs: 2_000 }));
    expect(failure).toMatchObject({ code: 'unavailable', server: 'down', delivery: 'unsent' });
    expect(failure.message).toContain('the cable is out');
    // What begins with the name of one that has told is known not to be there.
    expect(await failureOf(engine.callTool('a__u'))).toMatchObject({ code: 'not_found' });
  });

  it('time that went by while the server was down says why it was', async () => {
    let out: string | undefined;
    const { engine, peers } = fleet({
      a: { tools: ['t'], down: () => out, config: { restart: { baseMs: 200, factor: 1, jitter: 0 } } },
    });
    await engine.start();
    await engine.listTools();
    out = 'the cable is out';
    peers.a.close();
    await until(() => engine.connection('a').state === 'Error', 'the loss');
    const failure = await failureOf(engine.callTool('a__t', {}, { timeoutMs: 100 }));
    expect(failure).toMatchObject({ code: 'deadline_exceeded', delivery: 'unsent' });
    expect(failure.message).toContain('a is not connected: the transport was closed');
  });

  it('a stop is what a list hears, and not that there is nothing', async () => {
    const { engine, peers } = fleet({ a: {} });
    peers.a.answer('tools/list', () => new Promise(() => {}));
    await engine.start();
    const listed = failureOf(engine.listTools());
    await engine.stop({ graceMs: 0 });
    expect(await listed).toMatchObject({ code: 'stopped' });
  });
});
