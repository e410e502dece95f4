import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nearNames } from '../../lib/catalog/near-names.ts';

const all = (...names: string[]): { name: string; alias: string }[] =>
  names.map((name) => ({ name, alias: name.split('__').pop() ?? name }));

describe('nearNames', () => {
  it.each([
    ['github__create_isue', ['github__create_issue']],
    ['create_isue', ['github__create_issue']],
    ['CREATE_ISSUE', ['github__create_issue']],
    ['issue', ['github__create_issue']],
    ['zzzzzz', []],
    ['', []],
  ])('%s → %s', (wanted, expected) => {
    expect(nearNames(wanted, all('files__read', 'github__create_issue'))).toEqual(expected);
  });

  it('gives the three nearest, nearest first, and earlier ones before equal ones', () => {
    expect(nearNames('reed', all('a__road', 'b__read', 'c__reed_file', 'd__reads', 'e__reel'))).toEqual([
      'b__read',
      'e__reel',
      'c__reed_file',
    ]);
  });

  it('suggests every name one edit away', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '_'), minLength: 4, maxLength: 20 });
    fc.assert(
      fc.property(name, fc.nat(), fc.constantFrom('', 'x', 'b'), fc.nat(1), (right, at, instead, drop) => {
        const i = at % right.length;
        const wrong = right.slice(0, i) + instead.slice(0, 1) + right.slice(i + drop);
        expect(nearNames(wrong, [{ name: right, alias: right }])).toEqual([right]);
      }),
    );
  });

  it('does not look at monsters', () => {
    const monster = { name: 's__x_0123456789ab', alias: 'r'.repeat(1_000_000) };
    expect(nearNames('r'.repeat(1_000), [monster])).toEqual([]);
    expect(nearNames('read', [monster, ...all('s__read')])).toEqual(['s__read']);
  });
});
