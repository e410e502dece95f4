import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PersistentMap } from '../../lib/catalog/persistent-map.ts';

interface Value {
  readonly n: number;
}

describe('PersistentMap', () => {
  it('leaves old versions as they were, and can change them again', () => {
    const one = PersistentMap.empty<Value>().edit((draft) => draft.set('a', { n: 1 }));
    const two = one.edit((draft) => {
      draft.set('a', { n: 2 });
      draft.set('b', { n: 2 });
    });
    const three = two.edit((draft) => draft.delete('a'));
    const branch = one.edit((draft) => draft.set('c', { n: 9 }));
    expect([one, two, three, branch].map((map) => ['a', 'b', 'c'].map((key) => map.get(key)?.n))).toEqual([
      [1, undefined, undefined],
      [2, 2, undefined],
      [undefined, 2, undefined],
      [1, undefined, 9],
    ]);
  });

  it('changes nothing when the change throws, and is the same map when nothing changes', () => {
    const map = PersistentMap.empty<Value>().edit((draft) => draft.set('a', { n: 1 }));
    const failing = (): unknown =>
      map.edit((draft) => {
        draft.set('a', { n: 2 });
        draft.set('b', { n: 2 });
        throw new Error('no');
      });
    expect(failing).toThrow('no');
    expect([map.get('a')?.n, map.get('b')]).toEqual([1, undefined]);
    const same = map.get('a') as Value;
    expect(map.edit((draft) => draft.set('a', same))).toBe(map);
  });

  it('takes keys that are properties of every object', () => {
    const map = PersistentMap.empty<Value>();
    expect(['__proto__', 'constructor', 'toString'].map((key) => map.get(key))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    const next = map.edit((draft) => draft.set('__proto__', { n: 1 }));
    expect(next.get('__proto__')).toEqual({ n: 1 });
  });

  it('equals copied maps in any tree of versions', () => {
    const step = fc.record({
      from: fc.nat(),
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      n: fc.option(fc.nat(3)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const versions = [{ map: PersistentMap.empty<Value>(), model: new Map<string, Value>() }];
        for (const { from, key, n } of steps) {
          const base = versions[from % versions.length] as (typeof versions)[number];
          const model = new Map(base.model);
          if (n === null) model.delete(key);
          else model.set(key, { n });
          const value = model.get(key);
          const map = base.map.edit((draft) =>
            value === undefined ? draft.delete(key) : draft.set(key, value),
          );
          versions.push({ map, model });
        }
        for (const { map, model } of versions) {
          for (const key of ['a', 'b', 'c', 'd']) expect(map.get(key)).toBe(model.get(key));
        }
      }),
    );
  });
});
