import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fitsModels, fnv1a64, foldName, hashedName, quoted, withHash } from '../../lib/catalog/name-text.ts';

describe('fnv1a64', () => {
  it('is FNV-1a over two bytes per code unit', () => {
    const reference = (text: string): string => {
      let hash = 0xcbf29ce484222325n;
      for (const byte of Buffer.from(text, 'utf16le')) {
        hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
      }
      return hash.toString(16).padStart(16, '0');
    };
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => expect(fnv1a64(text)).toBe(reference(text))),
    );
    expect(fnv1a64('')).toBe('cbf29ce484222325');
  });
});

describe('foldName', () => {
  it.each([
    ['Read_File', 'read_file'],
    ['ｒｅａｄ', 'read'],
    ['ﬁle', 'file'],
    ['STRASSE', 'straße'],
    ['STRAẞE', 'straße'],
    ['\u212aelvin', 'kelvin'],
    ['ſend', 'send'],
  ])('%s and %s are one', (a, b) => {
    expect(foldName(a)).toBe(foldName(b));
  });

  it('folding twice changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (s) => expect(foldName(foldName(s))).toBe(foldName(s))),
    );
  });
});

describe('hashed names', () => {
  it('always fit, whatever is in them', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 200 }),
        fc.string({ unit: 'binary', maxLength: 200 }),
        (a, b) => {
          expect(fitsModels(hashedName(a, b))).toBe(true);
          expect(fitsModels(withHash(b, a, b, 3))).toBe(true);
        },
      ),
    );
  });

  it('are the same in every run', () => {
    expect(hashedName('github', 'créer une issue')).toBe('github__cr_er_une_issue_135cf94b018e');
    expect(hashedName('s'.repeat(60), 't'.repeat(60))).toMatch(/^s{20}__t{29}_[0-9a-f]{12}$/);
    expect(hashedName('a__b', 'c')).not.toBe(hashedName('a', 'b__c'));
  });

  it('take ten kilobytes and more without effort', () => {
    expect(fitsModels(hashedName('s', '🙂'.repeat(1_000_000)))).toBe(true);
  });
});

describe('quoted', () => {
  it('shows what is invisible and is short', () => {
    expect(quoted('a\u202eb\u0007\u{e0041}')).toBe(String.raw`"a\u{202e}b\u0007\u{e0041}"`);
    expect(quoted('x'.repeat(10_000))).toHaveLength(82);
  });
});
