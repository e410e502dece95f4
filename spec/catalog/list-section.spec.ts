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

describe('what a server lists again', () => {
  const tool = (name: string, more: object = {}): ToolItem => ({
    name,
    inputSchema: { type: 'object', properties: { a: { type: 'string' } } },
    ...more,
  });
  const again = (
    before: ListSection<'tools'>,
    items: readonly unknown[],
    stale?: boolean,
  ): ListSection<'tools'> =>
    before.next({
      items: before.known(items as ToolItem[]),
      listedAt: 1,
      ...(stale === undefined ? {} : { stale }),
    });

  it('is what is known where it says the same, down to the array that was built', () => {
    const before = tools([tool('a'), tool('b', { stale: 7, server: 'x' })]);
    const listed = before.listed(prefixed);
    const item = before.item('a', prefixed);
    const after = again(before, [tool('a'), tool('b', { stale: 7, server: 'x' })]);
    expect(after.list).toMatchObject({ listedAt: 1 });
    expect(after.list.items).toBe(before.list.items);
    expect(after.listed(prefixed)).toBe(listed);
    expect(after.item('a', prefixed)).toBe(item);
  });

  it('shares what has not changed, wherever it stands now', () => {
    const before = tools([tool('a'), tool('b'), tool('c')]);
    const [a, b, c] = before.listed(prefixed);
    const after = again(before, [tool('new'), tool('a'), tool('c'), tool('b', { title: 'B' })]);
    const listed = after.listed(prefixed);
    expect(listed[1]).toBe(a);
    expect(listed[2]).toBe(c);
    expect(listed[3]).not.toBe(b);
    expect(listed.map(({ name, title }) => [name, title])).toEqual([
      ['s__new', undefined],
      ['s__a', undefined],
      ['s__c', undefined],
      ['s__b', 'B'],
    ]);
    expect(after.list.items[1]).toBe(before.list.items[0]);
  });

  it('is shared across lists that nobody has looked at', () => {
    const first = tools([tool('a'), tool('b')]);
    const [a] = first.listed(prefixed);
    const second = again(first, [tool('a'), tool('x')]);
    const third = again(second, [tool('a'), tool('y')]);
    expect(third.listed(prefixed)[0]).toBe(a);
    expect(third.listed(prefixed)[1]?.name).toBe('s__y');
  });

  it('is another where it was changed in place, also back and also its name', () => {
    const held = [tool('a'), tool('b')] as Array<{ name: string; title?: string; vendor?: number }>;
    let section = tools(held);
    const titles = (): unknown[] => section.listed(prefixed).map(({ name, title }) => [name, title]);
    titles();
    const one = held[0] as { name: string; title?: string; vendor?: number };
    one.title = 'A';
    section = again(section, held);
    expect(titles()).toEqual([
      ['s__a', 'A'],
      ['s__b', undefined],
    ]);
    delete one.title;
    section = again(section, held);
    expect(section.listed(prefixed)[0]).not.toHaveProperty('title');
    one.name = 'c';
    section = again(section, held);
    expect(titles()).toEqual([
      ['s__c', undefined],
      ['s__b', undefined],
    ]);
    expect(section.item('a', prefixed)).toBeUndefined();
    // As a new object that says what the known one says by now, but did not when it was looked at.
    one.vendor = 1;
    section = again(section, [{ ...one }, held[1]]);
    expect(section.listed(prefixed)[0]).toMatchObject({ vendor: 1 });
  });

  it('is another under another name, and when it is stale or not any more', () => {
    const before = tools([tool('a')]);
    const [listed] = before.listed(prefixed);
    expect(before.renamed().listed((name) => `other__${name}`)[0]?.name).toBe('other__a');
    expect(before.renamed().listed(prefixed)[0]).toBe(listed);
    const stale = before.next({ ...before.list, stale: true });
    expect(stale.listed(prefixed)[0]?.stale).toBe(true);
    const back = stale.next({ items: stale.list.items, listedAt: 2 });
    expect(back.listed(prefixed)[0]).not.toHaveProperty('stale');
    const own = tools([tool('a', { stale: true })]);
    expect(own.listed(prefixed)[0]?.stale).toBe(false);
    expect(own.next({ ...own.list, stale: true }).listed(prefixed)[0]?.stale).toBe(true);
  });

  it('counts as new where the same objects come again: what is in them may have changed', () => {
    const held = [tool('a'), tool('b')];
    const before = tools(held);
    const [a] = before.listed(prefixed);
    const after = again(before, held);
    expect(after.list.items).not.toBe(before.list.items);
    expect(after.listed(prefixed)[0]).not.toBe(a);
    // Also where only what is in them is the same.
    const wrapped = again(
      tools(held),
      held.map((item) => ({ ...item })),
    );
    expect(wrapped.list.items).not.toBe(held);
  });

  it('is no news where nobody has looked at it either', () => {
    const before = tools([tool('a')]);
    expect(again(before, [tool('a')]).list.items).toBe(before.list.items);
    before.ids();
    expect(again(before, [tool('a')]).list.items).toBe(before.list.items);
    // Renamed in place, and then sent as a new object: nobody has been told the name.
    (before.list.items[0] as { name: string }).name = 'z';
    expect(again(before, [tool('z')]).list.items).not.toBe(before.list.items);
  });

  it('is not held up by a known object that can be read no more', () => {
    let broken = false;
    const held = {
      get name(): string {
        if (broken) throw new Error('gone');
        return 'a';
      },
      inputSchema: { type: 'object' },
    };
    const before = tools([held, tool('b')]);
    before.listed(prefixed);
    broken = true;
    const items = [tool('a'), tool('b')];
    expect(before.known(items)).toEqual(items);
  });

  it('is taken as it is where it cannot be read', () => {
    const bad = {
      name: 'a',
      get inputSchema(): never {
        throw new Error('no');
      },
    };
    const before = tools([tool('a')]);
    before.listed(prefixed);
    expect(before.known([bad as unknown as ToolItem])[0]).toBe(bad);
  });
});
