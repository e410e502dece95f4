import { describe, expect, it } from '@jest/globals';
import { RecentMap } from '../../lib/routing/recent-map.ts';

describe('recent map', () => {
  it('forgets what was used longest ago', () => {
    const map = new RecentMap<number>(2);
    map.set('a', 1);
    map.set('b', 2);
    expect(map.get('a')).toBe(1);
    map.set('c', 3);
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([1, undefined, 3]);
    map.set('a', 9);
    map.set('d', 4);
    expect([map.get('a'), map.get('c'), map.size]).toEqual([9, undefined, 2]);
  });
});
