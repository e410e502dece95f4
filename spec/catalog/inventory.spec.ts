import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { checkItems, emptyInventory, staleInventory } from '../../lib/catalog/inventory.ts';
import { TroupeError } from '../../lib/core/errors.ts';

const inputSchema = { type: 'object' };
const tool = (name: unknown, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name,
  inputSchema,
  ...more,
});

describe('checkItems', () => {
  it('hands good items through by reference, unknown fields and all', () => {
    const good: unknown = JSON.parse(
      '{"name":"a","inputSchema":{"type":"object"},"x-vendor":{"deep":[1]},"__proto__":{"evil":true}}',
    );
    const { items, skipped } = checkItems('tools', [good]);
    expect(items[0]).toBe(good);
    expect(skipped).toEqual([]);
    expect(Object.prototype).not.toHaveProperty('evil');
  });

  it.each<[Parameters<typeof checkItems>[0], unknown, RegExp]>([
    ['tools', null, /not an object/],
    ['tools', 'tool', /not an object/],
    ['tools', [], /not an object/],
    ['tools', tool(undefined), /name is not a string/],
    ['tools', tool(7), /name is not a string/],
    ['tools', tool(''), /name is empty/],
    ['tools', { name: 'a' }, /inputSchema is not an object/],
    ['tools', { name: 'a', inputSchema: true }, /inputSchema is not an object/],
    ['tools', { name: 'a', inputSchema: { type: 'string' } }, /not of type "object"/],
    ['tools', tool('a', { outputSchema: 'x' }), /outputSchema is not an object/],
    ['tools', tool('a', { annotations: [] }), /annotations is not an object/],
    ['tools', tool('a', { description: { text: 'x' } }), /description is not a string/],
    ['prompts', { name: 'a', arguments: {} }, /arguments is not an array/],
    ['prompts', { name: 'a', arguments: [{}] }, /an argument has no name/],
    ['resources', { uri: 'a://b' }, /name is not a string/],
    ['resources', { name: 'a' }, /uri is not a string/],
    ['resources', { uri: '', name: 'a' }, /uri is empty/],
    ['resources', { uri: 'a://b', name: 'a', mimeType: 1 }, /mimeType is not a string/],
    ['resourceTemplates', { name: 'a' }, /uriTemplate is not a string/],
    [
      'resourceTemplates',
      { uriTemplate: 'a://{b', name: 'a' },
      /uriTemplate is invalid: "{" at 4 is not closed/,
    ],
  ])('%s: skips %j', (kind, item, reason) => {
    const good = { name: 'good', uri: 'x://good', uriTemplate: 'x://{good}', inputSchema };
    const { items, skipped } = checkItems(kind, [item, good]);
    expect(items).toEqual([good]);
    expect(skipped).toEqual([expect.objectContaining({ reason: expect.stringMatching(reason) })]);
  });

  it('takes null for absent', () => {
    const nulls = { title: null, description: null, outputSchema: null, annotations: null };
    expect(checkItems('tools', [tool('a', nulls)]).items).toHaveLength(1);
    expect(checkItems('prompts', [{ name: 'a', arguments: null }]).items).toHaveLength(1);
  });

  it('of two with one name takes the first, and names what it skips', () => {
    const { items, skipped } = checkItems('tools', [tool('a', { n: 1 }), tool('a', { n: 2 }), {}]);
    expect(items).toEqual([expect.objectContaining({ n: 1 })]);
    expect(skipped).toEqual([
      { item: 'a', reason: 'is listed twice by this server (name); the first one counts' },
      { item: '#2', reason: 'name is not a string' },
    ]);
    expect(checkItems('tools', [tool('__proto__'), tool('constructor'), tool('#0')]).skipped).toEqual([]);
  });

  it('looks at header annotations over HTTP only', () => {
    const bad = tool('bad', {
      inputSchema: { type: 'object', properties: { n: { type: 'number', 'x-mcp-header': 'N' } } },
    });
    expect(checkItems('tools', [bad, tool('good')]).items).toHaveLength(2);
    const { items, skipped } = checkItems('tools', [bad, tool('good')], { httpHeaders: true });
    expect(items.map(({ name }) => name)).toEqual(['good']);
    expect(skipped).toEqual([{ item: 'bad', reason: expect.stringContaining('x-mcp-header') }]);
  });

  it('survives items that cannot be read', () => {
    const trap = Object.defineProperty({}, 'name', {
      get() {
        throw new Error('trap');
      },
    });
    expect(checkItems('tools', [trap, tool('a')])).toMatchObject({
      items: [{ name: 'a' }],
      skipped: [{ item: '#0', reason: 'cannot be read: Error: trap' }],
    });
  });

  it('never throws, and loses nothing: every item is listed or skipped', () => {
    const kinds = fc.constantFrom(
      'tools' as const,
      'prompts' as const,
      'resources' as const,
      'resourceTemplates' as const,
    );
    const item = fc.oneof(
      fc.jsonValue(),
      fc.record(
        { name: fc.string(), uri: fc.string(), uriTemplate: fc.string(), inputSchema: fc.jsonValue() },
        { requiredKeys: [] },
      ),
    );
    fc.assert(
      fc.property(kinds, fc.array(item), (kind, raw) => {
        const { items, skipped } = checkItems(kind, raw, { httpHeaders: true });
        expect(items.length + skipped.length).toBe(raw.length);
      }),
    );
  });
});

describe('inventories', () => {
  const error = new TroupeError('connection_lost', 'gone', { server: 's' });

  it('that went stale keep the very same items', () => {
    const { items } = checkItems('tools', [tool('a')]);
    const last = { ...emptyInventory('s', 5), tools: { items, listedAt: 7, ttlMs: 100 } };
    const stale = staleInventory(last, error);
    expect(stale.tools).toEqual({ items, listedAt: 7, ttlMs: 100, stale: true, failure: error });
    expect(stale.tools.items).toBe(items);
    expect(last.tools).not.toHaveProperty('stale');
    expect(staleInventory(last, error, ['prompts']).tools).toBe(last.tools);
  });

  it('of a server that never listed carry the reason', () => {
    expect(emptyInventory('s', 1, error).prompts).toEqual({ items: [], listedAt: 1, failure: error });
  });
});
