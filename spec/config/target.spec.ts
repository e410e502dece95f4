import { describe, expect, it } from '@jest/globals';
import { looksLikeServer } from '../../lib/config/target.ts';

describe('looksLikeServer', () => {
  it.each([
    [{ command: 'x' }, true],
    [{ command: ['x'] }, true],
    [{ url: 'x' }, true],
    [{ httpUrl: 'x' }, true],
    [{ server: () => 1 }, true],
    [{ replicas: [] }, true],
    [{ command: { command: 'x' } }, false],
    [{ server: { command: 'x' } }, false],
    [{}, false],
    [null, false],
    [[], false],
    ['x', false],
  ])('%j: %s', (value, answer) => {
    expect(looksLikeServer(value)).toBe(answer);
  });
});
