import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { UnderWay, type ListedUnderWay } from '../../../lib/mcp/transports/under-way.ts';

class Member implements ListedUnderWay {
  before: this | undefined = undefined;
  after: this | undefined = undefined;
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }
}

describe('what is under way', () => {
  it('is what a Set of it would be, whatever comes and goes', () => {
    const steps = fc.array(fc.record({ add: fc.boolean(), at: fc.nat(30) }), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (given) => {
        const list = new UnderWay<Member>();
        const set = new Set<Member>();
        const members = Array.from({ length: 31 }, (_, id) => new Member(id));
        for (const { add, at } of given) {
          const member = members[at] as Member;
          if (!add) {
            list.delete(member);
            set.delete(member);
          } else if (!set.has(member)) {
            list.add(member);
            set.add(member);
          }
          expect([...list].map(({ id }) => id)).toEqual([...set].map(({ id }) => id));
          expect(list.find(({ id }) => id === at)).toBe(set.has(member) ? member : undefined);
        }
        const left = members.filter((member) => !set.has(member));
        expect(left.every(({ before, after }) => before === undefined && after === undefined)).toBe(true);
      }),
    );
  });

  it('lets members go while it is walked through', () => {
    const list = new UnderWay<Member>();
    const members = [1, 2, 3, 4].map((id) => new Member(id));
    for (const member of members) list.add(member);
    const seen: number[] = [];
    for (const { id } of list) {
      seen.push(id);
      for (const member of members) list.delete(member);
    }
    expect(seen).toEqual([1, 2, 3, 4]);
    expect([...list]).toEqual([]);
  });
});
