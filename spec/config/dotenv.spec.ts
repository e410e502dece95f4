import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseDotenv } from '../../lib/config/dotenv.ts';

const values = (text: string): Record<string, string> => Object.fromEntries(parseDotenv(text).values);

describe('parseDotenv', () => {
  it.each([
    ['A=1', { A: '1' }],
    ['\uFEFFA=1\r\nB=2\rC=3\n', { A: '1', B: '2', C: '3' }],
    ['export A=1', { A: '1' }],
    ['  A = 1 ', { A: '1' }],
    ['A=', { A: '' }],
    ['A=x # note', { A: 'x' }],
    ['A=x#y', { A: 'x#y' }],
    ['A=#y', { A: '' }],
    ['A="x # y" # note', { A: 'x # y' }],
    ["A='x\\n$B'", { A: 'x\\n$B' }],
    [String.raw`A="x\ny\t\"q\" \\ \x"`, { A: 'x\ny\t"q" \\ \\x' }],
    ['A="x\ny"\nB=1', { A: 'x\ny', B: '1' }],
    ['A=`x\n"y"`', { A: 'x\n"y"' }],
    ['A=1\nA=2', { A: '2' }],
    ['A=b=c', { A: 'b=c' }],
    ['# note\n\n   # other', {}],
    ['A=${B}', { A: '${B}' }],
  ])('%j', (text, result) => {
    expect(values(text)).toEqual(result);
    expect(parseDotenv(text).badLines).toEqual([]);
  });

  it.each([
    ['A=1\nnonsense\nB=2', [2]],
    ['A="open\nB=1', [1]],
    ['A="x" y', [1]],
    ['=1', [1]],
    ['1A=2', [1]],
  ])('names the bad lines of %j', (text, lines) => {
    expect(parseDotenv(text).badLines).toEqual(lines);
  });

  it('reads a key called __proto__ like any other', () => {
    expect(parseDotenv('__proto__=x').values.get('__proto__')).toBe('x');
  });

  it('brings back what was quoted', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !/[\r']/.test(text)),
        (text) => {
          expect(parseDotenv(`A='${text}'`).values.get('A')).toBe(text);
        },
      ),
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseDotenv(text).values).toBeInstanceOf(Map);
      }),
    );
  });
});
