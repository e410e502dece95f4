import { describe, expect, it } from '@jest/globals';
import { compileGlob } from '../../lib/security/glob.ts';
import fc from 'fast-check';
import { MAX_URI_LENGTH } from '../../lib/core/limits.ts';
import { normaliseUri, normaliseUriPattern } from '../../lib/security/uri.ts';

describe('normaliseUri', () => {
  it.each([
    ['file:///a/b', 'file:///a/b'],
    ['FILE:///a/b', 'file:///a/b'],
    ['file:/a/b', 'file:///a/b'],
    ['file://localhost/a/b', 'file:///a/b'],
    ['file:///a/./x/../b', 'file:///a/b'],
    ['file:///a/%2e%2e/b', 'file:///b'],
    ['file:///a/..%2fb', 'file:///b'],
    ['file:///a/%2E%2E%5Cb', 'file:///b'],
    ['file:///a\\..\\b', 'file:///b'],
    ['file:///../../etc/passwd', 'file:///etc/passwd'],
    ['file:///a//b/', 'file:///a/b'],
    ['file:///a/%62', 'file:///a/b'],
    ['file:///a/b#part', 'file:///a/b'],
    ['file:///C:/x', 'file:///c:/x'],
    ['file:///c%3A/x', 'file:///c:/x'],
    ['file:///caf%C3%A9', 'file:///café'],
    ['file:///cafe%CC%81', 'file:///café'],
    ['HTTP://Example.COM:80/A', 'http://example.com/A'],
    ['http://2130706433/x', 'http://127.0.0.1/x'],
    ['http:\\\\host\\x', 'http://host/x'],
    ['http://u:p@host/x', 'http://host/x'],
    ['http://host', 'http://host'],
    ['Docs://Host/a/../b', 'docs://host/b'],
    ['docs:\\\\host\\b', 'docs://host/b'],
    ['urn:a/../b', 'urn:b'],
    ['plain/../name', 'name'],
  ])('%s is %s', (uri, expected) => {
    expect(normaliseUri(uri)?.full).toBe(expected);
  });

  it('tells the query apart', () => {
    expect(normaliseUri('docs://x/a/../b?q=%41&r=../c')).toEqual({
      full: 'docs://x/b?q=A&r=../c',
      bare: 'docs://x/b',
    });
  });

  it.each([
    ['file:///a/%252e%252e/b'],
    ['file:///a/%2565'],
    ['file:///a/%zz'],
    ['file:///a/%ff'],
    ['file:///a%00b'],
    ['file:///a\u0000b'],
    ['file:///a\nb'],
    [' file:///a'],
    ['file:///a '],
    ['docs://pub%2f..%2fsecret/x'],
    ['http://[bad/x'],
    [`file:///${'a'.repeat(MAX_URI_LENGTH)}`],
  ])('refuses %p', (uri) => {
    expect(normaliseUri(uri)).toBeUndefined();
  });
});

describe('normaliseUriPattern', () => {
  const matches = (pattern: string, uri: string): boolean =>
    compileGlob(normaliseUriPattern(pattern), { kind: 'path' })(normaliseUri(uri)!.full);

  it.each([
    ['*', 'any://thing/at/all', true],
    ['FILE:///Secret/**', 'file:///Secret/a/b', true],
    ['file:/secret/**', 'file:///secret/a', true],
    ['file://localhost/secret/', 'file:///secret', true],
    ['file:///secret/**', 'file:///public/..%2fsecret/x', true],
    ['file:///a%20b/*', 'file:///a%20b/c', true],
    ['file:///a b/*', 'file:///a%20b/c', true],
    ['file:///100%25', 'file:///100%25', true],
    ['file:///a%2Ab', 'file:///aXb', false],
    ['file:///C:/**', 'file:///c:/x/y', true],
    ['http://Example.com:80/x', 'http://example.com/x', true],
    ['http://bücher.example/*', 'http://bücher.example/a', true],
    ['https://*.example.com/**', 'https://a.example.com/x/y', true],
    ['https://*.example.com/**', 'https://evil.com/a.example.com/x', false],
    ['docs://x/a?q=*', 'docs://x/a?q=1', true],
    ['docs://x/a?q=*', 'docs://x/a', false],
    ['*://x/**', 'docs://x/a', true],
  ])('%s on %s: %s', (pattern, uri, expected) => {
    expect(matches(pattern, uri)).toBe(expected);
  });

  it.each([
    ['file:///a/../b'],
    ['file:///a/%2e%2e/b'],
    ['docs://x#frag'],
    ['http://[bad/x'],
    ['docs://x/%ff'],
    ['file:x'],
  ])('refuses %s', (pattern) => {
    expect(() => normaliseUriPattern(pattern)).toThrow(SyntaxError);
  });
});

describe('whatever a URI is made of', () => {
  const part = fc.constantFrom(
    'a',
    '.',
    '..',
    '%2e',
    '%2E%2e',
    '%2f',
    '/',
    '\\',
    '%5c',
    '%5C..',
    '%252e',
    '',
  );

  it('no dot segment and no second slash is left in its path', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('file://', 'https://h', 'memo://h'),
        fc.array(part, { maxLength: 12 }),
        (head, parts) => {
          const normal = normaliseUri(`${head}/${parts.join('/')}`);
          if (normal === undefined) return;
          const path = normal.bare.slice(head.length);
          expect(path.split(/[/\\]/)).not.toContain('..');
          expect(path.split(/[/\\]/)).not.toContain('.');
          expect(path).not.toMatch(/[/\\]{2}/);
        },
      ),
    );
  });
});
