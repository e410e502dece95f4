import { describe, expect, it } from '@jest/globals';
import { ListSection } from '../../lib/catalog/list-section.ts';
import type { ResourceItem, ToolItem } from '../../lib/catalog/inventory.ts';

const tools = (items: readonly unknown[], stale?: boolean): ListSection<'tools'> =>
  new ListSection('tools', 's', {
    items: items as ToolItem[],
    listedAt: 0,
    ...(stale === undefined ? {} : { stale }),
  });
const prefixed = (name: string): string => `s__${name}`;

describe('ListSection', () => {
  it('adds where an item comes from and keeps all of its fields, by reference', () => {
    const item = { name: 'a', inputSchema: { type: 'object' }, _meta: { x: 1 }, vendor: [1] };
    const [listed] = tools([item]).listed(prefixed);
    expect(listed).toEqual({ ...item, name: 's__a', server: 's', originalName: 'a' });
    expect(listed?.inputSchema).toBe(item.inputSchema);
    expect(item.name).toBe('a');
  });

  it('is built once, frozen, and found by original name', () => {
    const section = tools([{ name: 'a' }, { name: '__proto__' }]);
    const items = section.listed(prefixed);
    expect(section.listed(prefixed)).toBe(items);
    expect(Object.isFrozen(items) && Object.isFrozen(items[0])).toBe(true);
    expect(section.item('__proto__', prefixed)).toBe(items[1]);
    expect(section.item('constructor', prefixed)).toBeUndefined();
  });

  it('says what is stale, and believes no server that says so itself', () => {
    expect(tools([{ name: 'a' }], true).listed(prefixed)[0]?.stale).toBe(true);
    expect(tools([{ name: 'a', stale: true, server: 'other' }]).listed(prefixed)[0]).toMatchObject({
      stale: false,
      server: 's',
    });
    expect(tools([{ name: 'a' }]).listed(prefixed)[0]).not.toHaveProperty('stale');
  });

  it('passes over what nobody has checked', () => {
    const section = tools([{ name: 'a', n: 1 }, { name: 'a', n: 2 }, {}, { name: 7 }]);
    expect(section.listed(prefixed)).toEqual([expect.objectContaining({ n: 1 })]);
  });

  it('pollutes nothing', () => {
    const [listed] = tools([JSON.parse('{"name":"a","__proto__":{"evil":true}}')]).listed(prefixed);
    expect(Object.hasOwn(listed as object, '__proto__')).toBe(true);
    expect((listed as unknown as { evil?: boolean }).evil).toBeUndefined();
    expect(Object.prototype).not.toHaveProperty('evil');
  });

  it('knows resources by their URI and leaves them their name', () => {
    const items = [{ uri: 'a://b', name: 'B' }] as unknown as ResourceItem[];
    const section = new ListSection('resources', 's', { items, listedAt: 0 });
    expect(section.item('a://b', () => undefined)).toEqual({
      uri: 'a://b',
      name: 'B',
      server: 's',
      originalName: 'B',
    });
    expect([...section.ids()]).toEqual(['a://b']);
  });
});
