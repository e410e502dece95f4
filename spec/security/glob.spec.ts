import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_GLOB_LENGTH, compileGlob, compileGlobs } from '../../lib/security/glob.ts';

const name = (pattern: string, text: string): boolean => compileGlob(pattern, { kind: 'name' })(text);
const path = (pattern: string, text: string): boolean => compileGlob(pattern, { kind: 'path' })(text);

describe('globs over names', () => {
  it.each([
    ['echo', 'echo', true],
    ['echo', 'echo2', false],
    ['*', '', true],
    ['*', 'a/b', true],
    ['delete*', 'delete', true],
    ['delete*', 'delete/all', true],
    ['*_all', 'delete_all', true],
    ['*_all', 'delete_alls', false],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'acb', false],
    ['get_?', 'get_x', true],
    ['get_?', 'get_', false],
    ['get_?', 'get_xy', false],
    ['\\*', '*', true],
    ['\\*', 'x', false],
    ['a.c', 'abc', false],
    ['(a+)+$', '(a+)+$', true],
    ['*__proto__*', 'x__proto__y', true],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(name(pattern, text)).toBe(expected);
  });
});

describe('globs over paths', () => {
  it.each([
    ['file:///a/*', 'file:///a/b', true],
    ['file:///a/*', 'file:///a/b/c', false],
    ['file:///a/**', 'file:///a/b/c', true],
    ['file:///a/**', 'file:///a', true],
    ['file:///a/**', 'file:///ab', false],
    ['file:///a/**/z', 'file:///a/z', true],
    ['file:///a/**/z', 'file:///a/b/c/z', true],
    ['file:///a/**/z', 'file:///a/bz', false],
    ['**/secret/**', 'file:///x/secret', true],
    ['**/secret/**', 'file:///x/secret/y/z', true],
    ['**/secret/**', 'file:///x/secrets/y', false],
    ['**/*.key', 'file:///x/y/id.key', true],
    ['**/*.key', 'id.key', true],
    ['docs://*/read*', 'docs://a/readme', true],
    ['docs://*/read*', 'docs://a/b/readme', false],
    ['**', 'anything://at/all', true],
    ['x://a?b=1', 'x://a?b=1', true],
    ['x://a?b=1', 'x://aXb=1', false],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(path(pattern, text)).toBe(expected);
  });
});

describe('compileGlob', () => {
  it.each([
    ['', 'empty'],
    ['a\\', 'backslash'],
    ['x'.repeat(MAX_GLOB_LENGTH + 1), 'longer'],
  ])('refuses %p', (pattern, problem) => {
    expect(() => compileGlob(pattern, { kind: 'name' })).toThrow(problem);
  });

  it('agrees with a plain recursive matcher', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 8 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '?'), minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(pattern, letters, (glob, text) => {
        expect(name(glob, text)).toBe(slowly(glob, text));
      }),
      { numRuns: 2000 },
    );
  });

  it('needs time linear in the text for a pattern made to backtrack', () => {
    const matches = compileGlob(`${'a*'.repeat(100)}b`, { kind: 'name' });
    expect(matches('a'.repeat(20_000))).toBe(false);
    expect(matches(`${'a'.repeat(20_000)}b`)).toBe(true);
  });
});

describe('compileGlobs', () => {
  it('matches what one of the patterns matches', () => {
    const matches = compileGlobs(['echo', 'get_*', 'x?'], { kind: 'name' });
    expect(['echo', 'get_time', 'xy', 'put', 'x'].map(matches)).toEqual([true, true, true, false, false]);
  });
});

function slowly(glob: string, text: string): boolean {
  if (glob === '') return text === '';
  if (glob[0] === '*') return slowly(glob.slice(1), text) || (text !== '' && slowly(glob, text.slice(1)));
  return text !== '' && (glob[0] === '?' || glob[0] === text[0]) && slowly(glob.slice(1), text.slice(1));
}
