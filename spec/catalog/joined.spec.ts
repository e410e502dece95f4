import { describe, expect, it } from '@jest/globals';
import { joined } from '../../lib/catalog/joined.ts';

describe('joined', () => {
  it('is a new array of everything, in order', () => {
    const list = Object.freeze([1, 2]);
    expect(joined([list, [], [3]])).toEqual([1, 2, 3]);
    expect(joined([])).toEqual([]);
    expect(Object.isFrozen(joined([list]))).toBe(false);
  });

  it('takes more lists than a call takes arguments', () => {
    const lists = Array.from({ length: 250_001 }, (_, i) => [i]);
    const all = joined(lists);
    expect([all.length, all[0], all[123_456], all[250_000]]).toEqual([250_001, 0, 123_456, 250_000]);
  });
});
