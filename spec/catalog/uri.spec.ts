import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { normaliseUri, schemeOf } from '../../lib/catalog/uri.ts';

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

describe('normaliseUri', () => {
  it.each([
    ['file:///home/a', 'file:///home/a', undefined],
    ['FILE:/home/a', 'file:///home/a', undefined],
    ['file://localhost/home/a', 'file:///home/a', undefined],
    ['file:///home/./a/../b', 'file:///home/b', undefined],
    ['file:///home/a/..', 'file:///home/', undefined],
    ['file:///home/%61%20b', 'file:///home/a b', undefined],
    ['HTTP://Example.COM/A?B=%2e#frag', 'http://example.com/A?B=%2e', undefined],
    ['memo://notes', 'memo://notes', undefined],
    ['urn:a/../b', 'urn:b', undefined],
    ['file:///home/a/%2e%2e/%2E%2E/etc', 'file:///etc', undefined],
    ['file:///home/../../etc', 'file:///etc', 'climbs above the root'],
    ['file:///home/%252e%252e/etc', 'file:///home/%2e%2e/etc', 'encoded twice'],
    ['file:///home/..%2f..%2fetc', 'file:///etc', 'encoded slash'],
    [String.raw`file:///home\..\etc`, 'file:///etc', 'backslash'],
    ['file:///home/..%5cetc', 'file:///etc', 'backslash'],
    ['file:///a%00.txt', 'file:///a\u0000.txt', 'control character'],
    ['file:///a%zz/../b', 'file:///b', 'malformed escape'],
    ['file:///a%ff', 'file:///a%ff', 'malformed escape'],
    ['http://a%2eb/c', 'http://a%2eb/c', 'escape in the authority'],
    ['', '', undefined],
  ])('%s', (uri, text, oddity) => {
    expect(normaliseUri(uri)).toMatchObject({ text, oddity });
  });

  it('takes the parts apart', () => {
    expect(normaliseUri('HTTPS://U@Host:1/p/q?x=1#f')).toEqual({
      text: 'https://u@host:1/p/q?x=1',
      scheme: 'https',
      authority: 'u@host:1',
      path: '/p/q',
      query: 'x=1',
      oddity: undefined,
    });
  });

  it('leaves no dot segment below a root, whatever it is given', () => {
    const part = fc.constantFrom('a', '.', '..', '%2e', '%2E%2e', '%2f', '/', '\\', '%5c', '%', '');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const { path, oddity } = normaliseUri(`file:///${parts.join('/')}`);
        if (oddity === 'malformed escape') return;
        expect(path.split('/')).not.toContain('..');
        expect(path.split('/')).not.toContain('.');
      }),
    );
  });
});
