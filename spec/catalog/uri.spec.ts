import { describe, expect, it } from '@jest/globals';
import { schemeOf } from '../../lib/catalog/uri.ts';

describe('schemeOf', () => {
  it.each([
    ['FILE:///a', 'file'],
    ['git+ssh://x', 'git+ssh'],
    ['urn:isbn:1', 'urn'],
    ['no scheme', ''],
    ['/a:b', ''],
    ['1a:b', ''],
    [':', ''],
    [`${'a'.repeat(100)}:b`, ''],
  ])('%s → %s', (uri, scheme) => {
    expect(schemeOf(uri)).toBe(scheme);
  });
});
