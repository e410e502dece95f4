import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { lineDiff } from '../../lib/security/line-diff.ts';

const lines = (...all: string[]): string => all.join('\n');

describe('a line diff', () => {
  it.each<[string, string, string, string]>([
    ['nothing', 'a\nb', 'a\nb', ''],
    ['a changed line', 'a\nb\nc', 'a\nx\nc', lines('  a', '- b', '+ x', '  c')],
    ['an added line', 'a\nc', 'a\nb\nc', lines('  a', '+ b', '  c')],
    ['a removed line', 'a\nb\nc', 'a\nc', lines('  a', '- b', '  c')],
    [
      'two lines of context',
      '1\n2\n3\n4\n5\n6\n7',
      '1\n2\n3\nX\n5\n6\n7',
      lines('  2', '  3', '- 4', '+ X', '  5', '  6', '  …'),
    ],
    ['everything', 'a', 'b', lines('- a', '+ b')],
  ])('shows %s', (_what, before, after, expected) => {
    expect(lineDiff(before, after)).toBe(expected);
  });

  it('keeps to 200 lines, and stays quick with large texts', () => {
    const text = (mark: string): string => Array.from({ length: 5000 }, (_, i) => `${mark}${i}`).join('\n');
    const diff = lineDiff(text('a'), text('b')).split('\n');
    expect(diff.length).toBe(201);
    expect(diff.at(-1)).toBe('… and 9800 more lines');
  });

  it('tells what was and what is', () => {
    const text = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(text, text, (before, after) => {
        const diff = lineDiff(before.join('\n'), after.join('\n'));
        fc.pre(diff !== '' && !diff.includes('…'));
        const shown = diff.split('\n');
        const side = (mark: string): string =>
          shown
            .filter((line) => line[0] !== mark)
            .map((line) => line.slice(2))
            .join('\n');
        expect(before.join('\n')).toContain(side('+'));
        expect(after.join('\n')).toContain(side('-'));
      }),
    );
  });
});
