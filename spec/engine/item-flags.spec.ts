import { describe, expect, it } from '@jest/globals';
import type { Json } from '../../lib/core/json-rpc.ts';
import { engines, heard, stdio, textOf, until } from '../support/engines.ts';
import { createScriptedPeer } from '../support/scripted-peer.ts';

const HIDDEN_TEXT = { name: 'add', inputSchema: { type: 'object' }, description: 'pay\u200bpal' };

describe('an engine', () => {
  const make = engines();

  it('tells what a person does not see in what a server lists', async () => {
    const engine = make({ servers: { odd: stdio('hidden') } });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    const { items } = await engine.listTools();

    expect(told).toEqual([
      {
        type: 'catalog.item_flagged',
        at: expect.any(Number),
        server: 'odd',
        kind: 'tools',
        item: 'add',
        flags: [
          expect.objectContaining({ path: 'description', kind: 'tag', count: 10, hidden: 'ignore all' }),
        ],
      },
      expect.objectContaining({
        item: 'read',
        flags: [
          expect.objectContaining({
            path: 'inputSchema.properties.path.description',
            kind: 'ansi',
            count: 2,
            excerpt: expect.stringContaining('a\\u{1b}[8mpath'),
          }),
        ],
      }),
    ]);
    // It only tells: what is listed is what the server wrote, and leads where it led.
    expect(items.map(({ originalName }) => originalName)).toEqual(['echo', 'add', 'read', 'persian']);
    expect(items[1]?.['description']).toHaveLength('Adds.'.length + 2 * 'ignore all'.length);

    // Each finding once, whatever is listed again: over a wire every list is made of new objects.
    await engine.listTools({ cache: 'refresh' });
    expect(told).toHaveLength(2);
    expect(await textOf(engine.callTool('echo', { message: 'hi' }))).toBe('hi');
  });

  it('tells of every kind of list, and again of what has become something else', async () => {
    const peer = createScriptedPeer({
      tools: [HIDDEN_TEXT],
      prompts: [{ name: 'p', arguments: [{ name: 'a\u202e' }] }],
      resources: [{ uri: 'file:///a', name: 'a\u0007' }],
      resourceTemplates: [{ uriTemplate: 'file:///{x}', name: 'x', title: '\u2800' }],
    });
    const engine = make({ servers: { odd: { transport: () => peer.transport } } });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    await Promise.all([
      engine.listTools(),
      engine.listPrompts(),
      engine.listResources(),
      engine.listResourceTemplates(),
    ]);
    const seen = (): string[] =>
      told.map(({ kind, item, flags }) => `${kind} ${item}: ${flags.map((f) => f.kind).join()}`);
    expect(new Set(seen())).toEqual(
      new Set([
        'tools add: zero-width',
        'prompts p: bidi',
        'resources file:///a: control',
        'resourceTemplates file:///{x}: filler',
      ]),
    );

    peer.answer('tools/list', { tools: [{ ...HIDDEN_TEXT, title: '\u202e' }] });
    peer.notify('notifications/tools/list_changed');
    await until(() => told.length === 5, 'the changed definition');
    expect(seen()[4]).toBe('tools add: zero-width,bidi');
  });

  it('tells of lists that are asked for directly, and under names that secrets have', async () => {
    const peer = createScriptedPeer({ tools: ['clean'] });
    const engine = make({ servers: { odd: { transport: () => peer.transport } } });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    await engine.listTools();
    const odd = { inputSchema: { type: 'object', properties: { token: { description: 'x\u{e0041}' } } } };
    peer.answer('tools/list', { tools: [{ name: 'direct', ...odd }] });
    await engine.request({ method: 'tools/list', server: 'odd' });
    expect(told).toMatchObject([
      {
        server: 'odd',
        item: 'direct',
        flags: [{ path: 'inputSchema.properties.token.description', kind: 'tag', hidden: 'A' }],
      },
    ]);
    peer.answer('tools/list', { tools: [{ name: 'spread', ...odd }] });
    await engine.aggregate({ method: 'tools/list', reduce: 'lists' });
    expect(told[1]).toMatchObject({ item: 'spread' });
  });

  it('tells when there is too much to look at, once for the list', async () => {
    const zeros = Array.from({ length: 1_000_001 }, () => 0);
    const tools = [
      { ...HIDDEN_TEXT, name: 'first', description: 'ok', inputSchema: { type: 'object', enum: zeros } },
      { ...HIDDEN_TEXT, name: 'second' },
      { ...HIDDEN_TEXT, name: 'third' },
    ];
    const peer = createScriptedPeer({ tools });
    const engine = make({ servers: { odd: { transport: () => peer.transport } } });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    expect((await engine.listTools()).items).toHaveLength(3);
    expect(told).toMatchObject([{ item: 'first', flags: [{ kind: 'unchecked' }] }]);
  });

  it('looks later at what it had not come to, although that is listed as before', async () => {
    const zeros = Array.from({ length: 1_000_001 }, () => 0);
    const others = ['second', 'third'].map((name) => ({ ...HIDDEN_TEXT, name }));
    const first = { name: 'first', inputSchema: { type: 'object', enum: zeros as unknown } };
    const peer = createScriptedPeer({ tools: [] });
    // As over a wire: new objects each time.
    peer.answer('tools/list', () => JSON.parse(JSON.stringify({ tools: [first, ...others] })) as Json);
    const engine = make({ servers: { odd: { transport: () => peer.transport } } });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    await engine.listTools();
    expect(told.map(({ item }) => item)).toEqual(['first']);
    first.inputSchema.enum = [];
    await engine.listTools({ cache: 'refresh' });
    expect(told.map(({ item }) => item)).toEqual(['first', 'second', 'third']);
    await engine.listTools({ cache: 'refresh' });
    expect(told).toHaveLength(3);
  });

  it('goes on for a hundred findings of one server, and starts anew when that is configured again', async () => {
    const tools = Array.from({ length: 150 }, (_, i) => ({ ...HIDDEN_TEXT, name: `t${i}` }));
    const peer = createScriptedPeer({ tools });
    const other = createScriptedPeer({ tools: [HIDDEN_TEXT] });
    const config = { transport: () => peer.transport };
    const engine = make({ servers: { odd: config, other: { transport: () => other.transport } } });
    const told = heard(engine, 'catalog.item_flagged');
    const of = (name: string): number => told.filter(({ server }) => server === name).length;
    await engine.start();
    expect((await engine.listTools()).items).toHaveLength(151);
    expect([of('odd'), of('other')]).toEqual([100, 1]);

    await engine.remove('odd');
    peer.answer('tools/list', { tools: [{ ...HIDDEN_TEXT }] });
    await engine.add('odd', config);
    await engine.listTools();
    expect(of('odd')).toBe(101);
  });

  it('shows no secret of ours that a server has hidden there', async () => {
    const secret = `sk-live-${'0123456789'.repeat(4)}`;
    const peer = createScriptedPeer({
      tools: [{ ...HIDDEN_TEXT, description: `\u200b${secret}`, title: `x\u200b` }],
    });
    const engine = make({
      servers: {
        odd: { transport: () => peer.transport },
        mine: { url: 'http://127.0.0.1:9/mcp', headers: { authorization: `Bearer ${secret}` }, lazy: true },
      },
    });
    const told = heard(engine, 'catalog.item_flagged');
    await engine.start();
    await engine.listTools({ servers: ['odd'] });
    expect(told).toHaveLength(1);
    expect(JSON.stringify(told)).not.toContain('sk-live');
  });
});
