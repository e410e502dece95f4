import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { reconcile } from '../../lib/supervision/reconcile.ts';

const same = (a: { v: number }, b: { v: number }): boolean => a.v === b.v;
const fleet = fc.uniqueArray(
  fc.record({ name: fc.string({ maxLength: 2 }), v: fc.integer({ min: 0, max: 1 }) }),
  {
    selector: ({ name }) => name,
  },
);

it('sorts every name into exactly one heap', () => {
  fc.assert(
    fc.property(fleet, fleet, (before, after) => {
      const plan = reconcile(before, after, same);
      const all = [...plan.added, ...plan.removed, ...plan.changed, ...plan.kept].sort();
      expect(all).toEqual([...new Set([...before, ...after].map(({ name }) => name))].sort());
    }),
  );
});

it('touches nothing when nothing changed', () => {
  fc.assert(
    fc.property(fleet, (servers) => {
      expect(reconcile(servers, servers, same)).toEqual({
        added: [],
        removed: [],
        changed: [],
        kept: servers.map(({ name }) => name),
      });
    }),
  );
});
