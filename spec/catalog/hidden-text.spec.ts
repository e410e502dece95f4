import { describe, expect, it } from '@jest/globals';
import { hiddenCharacter } from '../../lib/catalog/hidden-text.ts';

describe('hiddenCharacter', () => {
  it.each([
    ['a tag', 'ok\u{e0041}', 'U+E0041'],
    ['an override', 'ok\u202etxt', 'U+202E'],
    ['a zero-width space', 'o\u200bk', 'U+200B'],
    ['an ANSI escape', 'a\u001b[31mb', 'U+001B'],
    ['a NUL', 'a\u0000', 'U+0000'],
    ['a lone surrogate', 'a\ud800b', 'U+D800'],
    ['a byte order mark', '\ufeffa', 'U+FEFF'],
  ])('finds %s', (_, text, found) => {
    expect(hiddenCharacter(text)).toBe(found);
  });

  it('leaves alone what people write', () => {
    expect(hiddenCharacter('Zeile\r\n\tnächste — 日本語 שלום 👩‍👩‍👧 ❤️')).toBeUndefined();
  });
});
