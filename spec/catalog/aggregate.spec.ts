import { describe, expect, it } from '@jest/globals';
import { mergeLists, type ListPart } from '../../lib/catalog/aggregate.ts';
import { TroupeError } from '../../lib/core/errors.ts';

interface Item {
  readonly name: string;
  readonly stale?: boolean;
}

const part = (server: string, more: Partial<ListPart<Item>> = {}): ListPart<Item> => ({
  server,
  items: [{ name: `${server}1` }],
  ttlMs: 1000,
  cacheScope: 'public',
  listedAt: 0,
  ...more,
});
const lost = new TroupeError('connection_lost', 'gone', { server: 'b' });

describe('mergeLists', () => {
  it('lists all in the order given, and keeps the items', () => {
    const a = part('a');
    const merged = mergeLists([a, part('b')]);
    expect(merged).toEqual({
      items: [{ name: 'a1' }, { name: 'b1' }],
      failures: [],
      ttlMs: 1000,
      cacheScope: 'public',
    });
    expect(merged.items[0]).toBe(a.items[0]);
  });

  it('a failed server is a row, and its last known items are stale', () => {
    const merged = mergeLists([
      part('a'),
      part('b', { failure: lost, stale: true }),
      part('c', { items: [], failure: lost }),
    ]);
    expect(merged.items).toEqual([{ name: 'a1' }, { name: 'b1', stale: true }]);
    expect(merged.failures).toEqual([
      { server: 'b', code: 'connection_lost', message: '[connection_lost] b: gone', error: lost },
      { server: 'c', code: 'connection_lost', message: '[connection_lost] b: gone', error: lost },
    ]);
    expect(merged.ttlMs).toBe(0);
  });

  it('items that came with a reason to doubt the list are not stale for it', () => {
    expect(mergeLists([part('a', { failure: lost })]).items).toEqual([{ name: 'a1' }]);
  });

  it('does not copy what is marked already', () => {
    const items = [{ name: 'a1', stale: true }];
    expect(mergeLists([part('a', { items, stale: true, failure: lost })]).items[0]).toBe(items[0]);
  });

  it.each<[string, readonly Partial<ListPart<Item>>[], number | undefined, number]>([
    ['the shortest', [{ ttlMs: 500 }, { ttlMs: 200 }], undefined, 200],
    [
      'less its age',
      [
        { ttlMs: 500, listedAt: 100 },
        { ttlMs: 700, listedAt: 400 },
      ],
      450,
      150,
    ],
    ['never below 0', [{ ttlMs: 500, listedAt: 0 }], 5000, 0],
    ['0 where one gave none', [{}, { ttlMs: undefined }], undefined, 0],
    ['0 where one is nonsense', [{ ttlMs: Number.NaN }], undefined, 0],
    ['0 where one is negative', [{ ttlMs: -5 }], undefined, 0],
    ['a number where one is endless', [{ ttlMs: Infinity }], undefined, Number.MAX_SAFE_INTEGER],
    ['0 of nobody', [], undefined, 0],
  ])('time: %s', (_, parts, now, expected) => {
    expect(
      mergeLists(
        parts.map((more, i) => part(`s${i}`, more)),
        now,
      ).ttlMs,
    ).toBe(expected);
  });

  it.each<[string, readonly ListPart<Item>['cacheScope'][], string]>([
    ['public', ['public', 'public'], 'public'],
    ['private', ['public', 'private'], 'private'],
    ['private where one said nothing', ['public', undefined], 'private'],
    ['private of nobody', [], 'private'],
  ])('scope: %s', (_, scopes, expected) => {
    expect(mergeLists(scopes.map((cacheScope, i) => part(`s${i}`, { cacheScope }))).cacheScope).toBe(
      expected,
    );
  });
});
