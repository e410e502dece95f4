import { describe, expect, it } from '@jest/globals';
import { subkey } from '../../lib/security/keys.ts';

const bytes = (...given: Parameters<typeof subkey>): string =>
  subkey(...given)
    .export()
    .toString('hex');

describe('a key for one purpose', () => {
  it('is the same for the same, however it is given, and another for another purpose', () => {
    const key = 'sixteen bytes or more';
    const derived = bytes(key, 'pins', 'f');
    expect(derived).toMatch(/^[0-9a-f]{64}$/);
    expect(bytes(() => Buffer.from(key), 'pins', 'f')).toBe(derived);
    expect(bytes(new TextEncoder().encode(key), 'pins', 'f')).toBe(derived);
    expect(bytes(key, 'audit', 'f')).not.toBe(derived);
  });

  it.each<unknown>(['', 'short', new Uint8Array(15), 7, null, {}])('is not made of %p', (given) => {
    expect(() => subkey(given as string, 'pins', 'pins.key')).toThrow(
      '[config_invalid] pins.key: must have at least 16 bytes',
    );
    expect(() => subkey(() => given as string, 'pins', 'pins.key')).toThrow('[config_invalid]');
  });
});
