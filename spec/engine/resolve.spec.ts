import { describe, expect, it } from '@jest/globals';
import { failureOf, hostHearsNothing, textOf, timeOf, until } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const said = (text: string) => ({ content: [{ type: 'text', text }] });
const contents = (text: string) => ({ contents: [{ uri: 'memo://x', text }] });
const echo = { tools: ['echo'] };

describe('a request that names its server', () => {
  it('goes there, and an exposed name of that server is turned into its own', async () => {
    const { engine, peers, got } = fleet({ a: echo, b: echo });
    await engine.start();
    peers.b.answer('tools/call', said('b'));
    expect(await textOf(engine.callTool('b__echo', {}, { servers: ['b'] }))).toBe('b');
    expect(await textOf(engine.callTool('echo', {}, { servers: ['b'] }))).toBe('b');
    expect(got('b', 'tools/call')).toMatchObject([{ name: 'echo' }, { name: 'echo' }]);
    expect(got('a', 'tools/call')).toEqual([]);
  });

  it('before the server has listed anything: its list is waited for where the name may be one of ours', async () => {
    const naming = (server: string, name: string): string => `${name}_of_${server}`;
    for (const [config, exposed] of [
      [{}, 'b__echo'],
      [{ naming }, 'echo_of_b'],
    ] as const) {
      const { engine, peers, got } = fleet({ a: echo, b: echo }, config);
      let list = (): void => {};
      const listed = new Promise<void>((resolve) => (list = resolve));
      peers.b.answer('tools/list', async () => {
        await listed;
        return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
      });
      await engine.start();
      peers.b.answer('tools/call', said('b'));
      const call = textOf(engine.callTool(exposed, {}, { servers: ['b'] }));
      await until(() => got('b', 'tools/list').length > 0, 'the list to be asked for');
      await new Promise((resolve) => void setImmediate(resolve));
      expect(got('b', 'tools/call')).toEqual([]);
      list();
      expect(await call).toBe('b');
      expect(got('b', 'tools/call')).toMatchObject([{ name: 'echo' }]);
    }
  });

  it('with its own name at once, whatever it is about to list', async () => {
    const { engine, peers, got } = fleet({ a: echo, b: echo });
    peers.b.answer('tools/list', () => new Promise(() => {}));
    await engine.start();
    peers.b.answer('tools/call', said('b'));
    expect(await textOf(engine.callTool('echo', {}, { servers: ['b'] }))).toBe('b');
    expect(got('b', 'tools/call')).toMatchObject([{ name: 'echo' }]);
  });

  it('also with a name that it does not list: the server knows best', async () => {
    const { engine, peers, got } = fleet({ a: echo });
    await engine.start();
    peers.a.answer('tools/call', said('hidden'));
    expect(await textOf(engine.callTool('secret', {}, { servers: ['a'] }))).toBe('hidden');
    expect(got('a', 'tools/call')).toMatchObject([{ name: 'secret' }]);
  });

  it('fails when there is no such server, naming those there are', async () => {
    const { engine } = fleet({ a: echo, b: echo });
    await engine.start();
    const error = await failureOf(engine.request({ method: 'tools/call', server: 'c' }));
    expect(error).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    expect(error.message).toContain('no server "c"; there are a, b');
    const empty = await failureOf(fleet({}).engine.request({ method: 'tools/call', server: 'c' }));
    expect(empty.message).toContain('there are none');
  });
});

describe('a method that names nothing', () => {
  it('goes to the only server', async () => {
    const { engine, peers } = fleet({ a: echo });
    await engine.start();
    peers.a.answer('vendor/do', ({ params }) => ({ did: params?.['what'] }));
    expect(await engine.request({ method: 'vendor/do', params: { what: 1 } })).toEqual({ did: 1 });
  });

  it('needs a server where there are more, and one where there is none', async () => {
    const two = await failureOf(fleet({ a: echo, b: echo }).engine.request({ method: 'vendor/do' }));
    expect(two).toMatchObject({ code: 'invalid_request' });
    expect(two.message).toContain('vendor/do: say which server (a, b)');
    const none = await failureOf(fleet({}).engine.request({ method: 'vendor/do' }));
    expect(none).toMatchObject({ code: 'not_found' });
    expect(none.message).toContain('the fleet is empty');
  });
});

describe('a name', () => {
  it('that two servers have is refused, one that only one has need not be exposed', async () => {
    const { engine, peers } = fleet({ a: { tools: ['echo', 'own'] }, b: echo });
    await engine.start();
    await engine.listTools();
    peers.a.answer('tools/call', ({ params }) => said(`a ${String(params?.['name'])}`));
    const error = await failureOf(engine.callTool('echo'));
    expect(error.code).toBe('ambiguous_name');
    expect(error.message).toContain('a__echo');
    expect(error.message).toContain('b__echo');
    expect(await textOf(engine.callTool('own'))).toBe('a own');
  });

  it('of a server that has not listed anything yet waits for that one, not for one that hangs', async () => {
    const { engine, peers } = fleet(
      { hangs: { handshake: false }, late: { ...echo, handshake: true } },
      { servers: {} },
    );
    void engine.start();
    peers.late.answer('tools/call', said('late'));
    expect(await timeOf(async () => textOf(engine.callTool('late__echo')))).toBeLessThan(5_000);
  });

  it('that nobody has is not found, once everybody has said so', async () => {
    const { engine } = fleet({ a: echo, b: echo });
    await engine.start();
    const error = await failureOf(engine.callTool('nothing'));
    expect(error).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    expect((await failureOf(engine.getPrompt('nothing'))).code).toBe('not_found');
  });

  it('of a server that cannot say says why', async () => {
    const { engine } = fleet({
      ill: { config: { restart: { baseMs: 60_000 } }, down: () => 'the cable is out' },
      well: echo,
    });
    await engine.start();
    const error = await failureOf(engine.callTool('ill__echo'));
    expect(error).toMatchObject({ code: 'unavailable', server: 'ill', delivery: 'unsent' });
    expect(error.message).toContain('cannot tell whether it has "ill__echo"');
    expect(error.message).toContain('the cable is out');
  });

  it('of a server that cannot say is asked of one that is declared equivalent', async () => {
    const { engine, peers, got } = fleet({
      ill: {
        config: { restart: { baseMs: 60_000 }, equivalentTo: ['well'] },
        down: () => 'the cable is out',
      },
      well: { ...echo, resources: ['memo://x'] },
    });
    await engine.start();
    peers.well.answer('tools/call', said('well'));
    expect(await textOf(engine.callTool('ill__echo', { a: 1 }))).toBe('well');
    expect(got('well', 'tools/call')).toMatchObject([{ name: 'echo', arguments: { a: 1 } }]);
  });
});

describe('a resource', () => {
  it('that nobody lists is asked of each that has resources, until one knows it', async () => {
    const readable = { resources: [] };
    const { engine, peers, got } = fleet({ tools: echo, first: readable, second: readable, third: readable });
    await engine.start();
    peers.first.answer('resources/read', () => {
      throw Object.assign(new Error('unknown resource'), { code: -32002 });
    });
    peers.second.answer('resources/read', contents('second'));
    expect(await engine.readResource('memo://x')).toMatchObject(contents('second'));
    expect([got('tools', 'resources/read'), got('third', 'resources/read')]).toEqual([[], []]);
  });

  it('is not asked of another after an error that says more than that it is unknown', async () => {
    const readable = { resources: [] };
    const { engine, peers, got } = fleet({ first: readable, second: readable });
    await engine.start();
    peers.first.answer('resources/read', () => {
      throw Object.assign(new Error('disk on fire'), { code: -32603 });
    });
    const error = await failureOf(engine.readResource('memo://x'));
    expect(error).toMatchObject({ server: 'first' });
    expect(error.message).toContain('disk on fire');
    expect(got('second', 'resources/read')).toEqual([]);
  });

  it('is not found where nobody has resources', async () => {
    const { engine } = fleet({ a: echo });
    await engine.start();
    expect(await failureOf(engine.readResource('memo://x'))).toMatchObject({ code: 'not_found' });
  });

  it('goes where the host says, and on from there', async () => {
    const lists = { resources: [{ uri: 'memo://x', name: 'x', mimeType: 'text/plain' }] };
    const { engine, peers, got } = fleet(
      { lister: lists, ruled: lists, text: lists },
      {
        routes: [
          { match: 'memo://ruled/**', to: ['ruled', 'text'] },
          { match: 'memo://**', type: 'text/*', to: 'text' },
        ],
      },
    );
    await engine.start();
    await engine.listResources();
    for (const [name, peer] of Object.entries(peers)) peer.answer('resources/read', contents(name));
    peers.ruled.answer('resources/read', () => {
      throw Object.assign(new Error('unknown resource'), { code: -32002 });
    });
    expect(await engine.readResource('memo://ruled/a')).toMatchObject(contents('text'));
    expect(await engine.readResource('memo://x')).toMatchObject(contents('text'));
    expect(await engine.readResource('memo://x', { servers: ['lister'] })).toMatchObject(contents('lister'));
    expect(got('ruled', 'resources/read')).toHaveLength(1);
  });
});

describe('a completion', () => {
  const completion = { completion: { values: ['x'] } };
  const both = {
    capabilities: { prompts: {}, resources: {}, completions: {} },
    prompts: ['ask'],
    resources: ['memo://x'],
  };

  it('goes to the holder of the prompt or the resource, with its own name', async () => {
    const { engine, peers, got } = fleet({
      a: { ...both, resources: ['memo://a'] },
      b: { ...both, prompts: ['other'] },
    });
    await engine.start();
    await Promise.all([engine.listPrompts(), engine.listResources()]);
    for (const peer of Object.values(peers)) peer.answer('completion/complete', completion);
    const argument = { name: 'n', value: 'v' };
    expect(await engine.complete({ type: 'ref/prompt', name: 'a__ask' }, argument)).toMatchObject(completion);
    expect(await engine.complete({ type: 'ref/resource', uri: 'memo://x' }, argument)).toMatchObject(
      completion,
    );
    expect(got('a', 'completion/complete')).toMatchObject([{ ref: { type: 'ref/prompt', name: 'ask' } }]);
    expect(got('b', 'completion/complete')).toMatchObject([{ ref: { uri: 'memo://x' } }]);
  });

  it('about nothing is not found', async () => {
    const { engine } = fleet({ a: both, b: both });
    await engine.start();
    const error = await failureOf(engine.request({ method: 'completion/complete', params: { ref: 7 } }));
    expect(error.code).toBe('not_found');
    expect(error.message).toContain('params.ref is not an object');
  });
});

describe('what a server says of its tools', () => {
  const tool = (annotations: Record<string, unknown>) => ({
    tools: [{ name: 'look', inputSchema: { type: 'object' }, annotations }],
  });

  it.each([
    ['readOnlyHint', { readOnlyHint: true }],
    ['idempotentHint', { idempotentHint: true }],
  ])('as %s lets a call be repeated after a loss, if the server is trusted', async (_, annotations) => {
    const { engine, peers, got } = fleet({ a: { ...tool(annotations), config: { trusted: true } } });
    await engine.start();
    await engine.listTools();
    const call = textOf(engine.callTool('look'));
    await peers.a.expectRequest('tools/call').die();
    peers.a.answer('tools/call', said('again'));
    expect(await call).toBe('again');
    expect(got('a', 'tools/call')).toHaveLength(2);
  });

  it.each([
    ['it is not trusted', { readOnlyHint: true }, {}],
    ['it says nothing of the kind', { title: 'Look' }, { trusted: true }],
  ])('does not when %s', async (_, annotations, config) => {
    const { engine, peers, got } = fleet({ a: { ...tool(annotations), config } });
    await engine.start();
    await engine.listTools();
    const outcome = failureOf(engine.callTool('look'));
    await peers.a.expectRequest('tools/call').die();
    peers.a.answer('tools/call', said('again'));
    expect(await outcome).toMatchObject({ code: 'outcome_unknown', delivery: 'sent' });
    await until(() => engine.connection('a').state === 'Connected', 'the connection');
    expect(got('a', 'tools/call')).toHaveLength(1);
  });
});

describe('how long an operation may take', () => {
  it('is said by the server that it will go to, listed or only likely', async () => {
    const { engine, peers } = fleet(
      {
        quick: { tools: ['hang'], config: { timeoutMs: 150, lazy: true } },
        slow: { tools: ['hang'], config: { timeoutMs: 60_000 } },
      },
      { timeoutMs: 60_000 },
    );
    await engine.start();
    void peers.quick.expectRequest('tools/call').hang();
    // Nothing of it is listed yet: its name begins the exposed one.
    const error = await failureOf(engine.callTool('quick__hang'));
    expect(error).toMatchObject({ code: 'deadline_exceeded', server: 'quick' });
    await engine.listTools();
    void peers.quick.expectRequest('tools/call').hang();
    expect(await failureOf(engine.callTool('quick__hang'))).toMatchObject({ code: 'deadline_exceeded' });
  });
});
