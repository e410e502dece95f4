import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { joined, rejoined, type Joined } from '../../lib/catalog/joined.ts';

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

describe('rejoined', () => {
  const before = rejoined(undefined, [[1, 2], [], [3]]);

  it('is frozen, and the very same where nothing has changed', () => {
    expect(before.items).toEqual([1, 2, 3]);
    expect(Object.isFrozen(before.items)).toBe(true);
    expect(rejoined(before, [...before.lists])).toBe(before);
  });

  it('leaves what was joined before as it was', () => {
    const after = rejoined(before, [[8, 9], ...before.lists.slice(1)]);
    expect(after.items).toEqual([8, 9, 3]);
    expect(Object.isFrozen(after.items)).toBe(true);
    expect(before.items).toEqual([1, 2, 3]);
  });

  it('is what a joining from scratch is, whatever changes', () => {
    const list = fc.array(fc.integer(), { maxLength: 4 });
    const change = fc.oneof(
      fc.record({ kind: fc.constant('replace' as const), at: fc.nat(), list }),
      fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), list }),
      fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), list }),
    );
    fc.assert(
      fc.property(fc.array(list, { maxLength: 6 }), fc.array(change, { maxLength: 8 }), (lists, changes) => {
        let known: Joined<number> = rejoined(undefined, lists);
        for (const { kind, at, list: now } of changes) {
          const next = [...known.lists];
          if (kind === 'insert') next.splice(at % (next.length + 1), 0, now);
          else if (next.length > 0) next.splice(at % next.length, 1, ...(kind === 'replace' ? [now] : []));
          known = rejoined(known, next);
          expect(known.items).toEqual(next.flat());
        }
      }),
    );
  });
});
