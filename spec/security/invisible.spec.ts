import { describe, expect, it } from '@jest/globals';
import { hiddenKind, revealHidden, withoutHidden } from '../../lib/security/invisible.ts';

describe('hidden characters', () => {
  it.each([
    [0x41, undefined],
    [0x09, undefined],
    [0x0a, undefined],
    [0x0d, undefined],
    [0x00, 'control'],
    [0x1b, 'control'],
    [0x7f, 'control'],
    [0x9b, 'control'],
    [0xad, 'zero-width'],
    [0x200b, 'zero-width'],
    [0x200d, 'zero-width'],
    [0x200e, 'bidi'],
    [0x202e, 'bidi'],
    [0x2028, 'control'],
    [0x2069, 'bidi'],
    [0x3164, 'filler'],
    [0xd800, 'surrogate'],
    [0xfe0f, 'variation'],
    [0xfeff, 'zero-width'],
    [0xe0000, 'tag'],
    [0xe007f, 'tag'],
    [0xe0100, 'variation'],
    [0xe9, undefined],
    [0x4e2d, undefined],
    [0x1f600, undefined],
  ])('U+%x is %s', (codePoint, kind) => {
    expect(hiddenKind(codePoint)).toBe(kind);
  });

  it('can be shown and taken out', () => {
    const text = 'pay\u200bpal \u202eevil\u{e0041}\ud800 é 😀';
    expect(revealHidden(text)).toBe('pay\\u{200b}pal \\u{202e}evil\\u{e0041}\\u{d800} é 😀');
    expect(withoutHidden(text)).toBe('paypal evil é 😀');
    expect(revealHidden('plain\n\ttext')).toBe('plain\n\ttext');
  });
});
