import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PendingTable, idOf, type Waiting } from '../../../lib/mcp/wire/pending-table.ts';

function added(table: PendingTable<Waiting>): Waiting {
  const seq = table.nextSeq();
  const pending = { id: idOf(seq), seq };
  table.add(pending);
  return pending;
}

describe('the table of pending requests', () => {
  it('answers as a Map would, however many wait and whoever is left behind', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, fc.nat(1_000)), { maxLength: 600 }),
        (steps) => {
          const table = new PendingTable<Waiting>();
          const model = new Map<string, Waiting>();
          const given = new Set<string>();
          for (const step of steps) {
            const waiting = [...model.values()];
            const leaving = waiting[step % waiting.length];
            if (step < 0 || leaving === undefined) {
              const pending = added(table);
              expect(given.has(pending.id)).toBe(false);
              given.add(pending.id);
              model.set(pending.id, pending);
            } else {
              expect(table.delete(leaving)).toBe(true);
              expect(table.delete(leaving)).toBe(false);
              model.delete(leaving.id);
            }
            expect(table.size).toBe(model.size);
          }
          expect(table.all()).toEqual([...model.values()]);
          for (const id of given) expect(table.get(id)).toBe(model.get(id));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('goes round one that never ends, and is small again after a time with many', () => {
    const table = new PendingTable<Waiting>();
    const hanging = added(table);
    for (let i = 0; i < 1_000; i += 1) {
      const pending = added(table);
      expect(table.get(pending.id)).toBe(pending);
      table.delete(pending);
      expect(table.get(pending.id)).toBeUndefined();
    }
    expect(table.all()).toEqual([hanging]);
    const many = Array.from({ length: 5_000 }, () => added(table));
    expect(new Set(many.map(({ seq }) => seq)).size).toBe(5_000);
    expect(table.all()).toEqual([hanging, ...many]);
    for (const pending of [hanging, ...many]) table.delete(pending);
    expect(table.size).toBe(0);
    const after = added(table);
    expect(table.get(after.id)).toBe(after);
  });

  it.each([
    undefined,
    null,
    1,
    '',
    't',
    't.',
    '1',
    't1',
    't1.0',
    't10.',
    't01.',
    't1. ',
    'T1.',
    't-1.',
    't1.0.',
    't1e0.',
    't17.',
    't1n.',
    `t${'9'.repeat(400)}.`,
    't9007199254740993.',
    ['t1.'],
    { id: 't1.' },
  ])('takes no foreign id for its own: %p', (id) => {
    const table = new PendingTable<Waiting>();
    expect(added(table).id).toBe('t1.');
    expect(table.get(id)).toBeUndefined();
    expect(table.get('t1.')).toBeDefined();
  });
});
