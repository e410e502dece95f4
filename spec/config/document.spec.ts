import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseDocument } from '../../lib/config/document.ts';
import { isTroupeError } from '../../lib/core/errors.ts';
import { refusal } from '../support/config-expectations.ts';

const value = (text: string): unknown => parseDocument(text, 'mcp.json').value;

describe('parseDocument', () => {
  it('reads comments, trailing commas, a byte-order mark and foreign line ends', () => {
    const text = '\uFEFF{ // one\r\n  "a": [1, 2,], /* two */\r\n  "b": "//no", }';
    expect(JSON.stringify(value(text))).toBe('{"a":[1,2],"b":"//no"}');
  });

  it.each([
    ['', /empty/],
    [' \n ', /empty/],
    ['// only a comment', /not JSON.*mcp\.json, line 1/],
    ['{"a":1', /close brace expected.*line 1/],
    ['{\n  "a" 1\n}', /colon expected.*line 2, column 7/],
    ['{"a":1}{', /end of file expected/],
    ["{'a':1}", /not JSON/],
    ['{"a":1,\n"b":{"c":1,\n"c":2}}', /"c" is given twice.*line 3, column 1/],
    ['{"__proto__":1,"__proto__":2}', /"__proto__" is given twice/],
    ['{"a":"x\ny"}', /not JSON/],
  ])('refuses %j', (text, problem) => {
    const error = refusal(() => value(text));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toMatch(problem);
    expect(error.message).toContain('mcp.json');
  });

  it('gives objects without a prototype', () => {
    const object = value('{"__proto__":{"a":1},"constructor":2}') as object;
    expect(Object.getPrototypeOf(object)).toBeNull();
    expect(Object.keys(object)).toEqual(['__proto__', 'constructor']);
  });

  it('knows the line of a value, or of what is nearest to one that is missing', () => {
    const { origin } = parseDocument('{\n "servers": {\n  "a": {\n   "args": [1,\n    2]\n} } }', 'f');
    expect(origin.lineOf(['servers', 'a', 'args', 1])).toBe(5);
    expect(origin.lineOf(['servers', 'a', 'timeoutMs'])).toBe(3);
    expect(origin.lineOf(['elsewhere'])).toBe(1);
  });

  it('knows the order of keys in the text', () => {
    const document = parseDocument('{"s":{"b":1,"10":1,"2":1,"a":1}}', 'f');
    expect(document.keysAt(['s'])).toEqual(['b', '10', '2', 'a']);
    expect(document.keysAt(['x'])).toEqual([]);
    expect(document.keysAt(['s', 'b'])).toEqual([]);
  });

  it('reads any JSON as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.stringify(value(text))).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  it('throws nothing but config_invalid on any text', () => {
    const parts = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ',',
      ':',
      '1',
      'true',
      '//',
      '/*',
      '*/',
      '\n',
      '\\',
      '"a"',
      ' ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(parts).map((list) => list.join('')),
        ),
        (text) => {
          let fault: unknown;
          try {
            value(text);
          } catch (error) {
            if (!isTroupeError(error) || error.code !== 'config_invalid') fault = error;
          }
          expect(fault).toBeUndefined();
        },
      ),
      { numRuns: 500 },
    );
  });

  it('refuses any depth before the parser can exhaust the stack', () => {
    for (const open of ['[', '{"a":', '[[{"a":']) {
      expect(refusal(() => value(open.repeat(100_000))).message).toMatch(/nested deeper than 128 levels/);
    }
    const deepest = `${'['.repeat(128)}${']'.repeat(128)}`;
    expect(JSON.stringify(value(deepest))).toBe(deepest);
  });

  it('takes time in proportion to the text', () => {
    const long = `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":${i}`).join(',\n')}}`;
    const started = performance.now();
    for (const text of ['"'.repeat(50_001), '/*'.repeat(50_000), '{"a":1,'.repeat(100)]) {
      expect(refusal(() => value(text)).code).toBe('config_invalid');
    }
    expect(Object.keys(value(long) as object)).toHaveLength(20_000);
    // About 100 ms alone on a machine; quadratic would be minutes.
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
