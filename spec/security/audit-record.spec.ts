import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  EMPTY_CHAIN,
  MAX_RECORD_BYTES,
  decodeRecord,
  encodeRecord,
  sealOf,
} from '../../lib/security/audit-record.ts';

const seal = sealOf('sixteen bytes or more');

describe('one record', () => {
  it('is read as it was written, whatever its fields', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (fields) => {
        const { line, head } = encodeRecord({ seq: 41, mac: 'a'.repeat(64) }, 7, 'event', fields, seal);
        expect(line).not.toContain('\n');
        expect(decodeRecord(line, seal)).toEqual({
          seq: 42,
          prev: 'a'.repeat(64),
          mac: head.mac,
          sealed: true,
        });
      }),
    );
  });

  it('is never longer than a reader looks back', () => {
    for (const filler of ['x', 'ü', '😀', '"', '\u0000', '\ud800']) {
      for (const length of [5_000, 20_000, 200_000]) {
        const { line } = encodeRecord(EMPTY_CHAIN, 0, 'intent', { filler: filler.repeat(length) }, seal);
        expect(Buffer.byteLength(line)).toBeLessThan(MAX_RECORD_BYTES);
      }
    }
  });

  it('without fields is a record too', () => {
    const { line } = encodeRecord(EMPTY_CHAIN, 0, 'intent', {}, seal);
    expect(JSON.parse(line)).toMatchObject({ seq: 1, at: 0, kind: 'intent' });
    expect(decodeRecord(line, seal)?.sealed).toBe(true);
  });

  it('does not fit another key, or none', () => {
    const { line } = encodeRecord(EMPTY_CHAIN, 0, 'intent', {}, seal);
    expect(decodeRecord(line, sealOf('another sixteen bytes'))?.sealed).toBe(false);
    expect(decodeRecord(line, sealOf(undefined))?.sealed).toBe(false);
  });

  it.each([
    '',
    '{}',
    'null',
    '{"mac":"x"}',
    `{"seq":1.5,"prev":"","mac":"${'0'.repeat(64)}"}`,
    `x,"mac":"${'0'.repeat(64)}"}`,
  ])('is not %p', (line) => {
    expect(decodeRecord(line, seal)).toBeUndefined();
  });
});
