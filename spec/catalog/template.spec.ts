import { describe, expect, it } from '@jest/globals';
import { UriTemplate } from '@modelcontextprotocol/client';
import fc from 'fast-check';
import {
  MAX_EXPRESSIONS,
  MAX_TEMPLATE,
  matchesTemplate,
  parsePattern,
  parseTemplate,
} from '../../lib/catalog/template.ts';
import { MAX_URI_LENGTH } from '../../lib/core/limits.ts';

const matches = (text: string, uri: string): boolean => {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return matchesTemplate(parsed.template, uri);
};

describe('matchesTemplate', () => {
  it.each([
    ['a://b', ['a://b'], ['a://', 'a://bc', 'A://b']],
    [
      'a://{x}',
      ['a://b', 'a://b,c', 'a://hello world', 'a://%2F', 'a://{x}'],
      ['a://', 'a://b/c', 'a://b?c', 'a://b#c'],
    ],
    ['a://{x}/b', ['a://x/b'], ['a:///b', 'a://x/y/b', 'a://x/']],
    ['a://{x}/{y}.md', ['a://1/2.md', 'a://1/2.md.md'], ['a://1/.md', 'a://1/2']],
    ['{x}b{y}b', ['abab', 'bbbb'], ['ab', 'bb']],
    ['{+p}', ['/a/b?c#d'], ['']],
    ['file:///{+path}', ['file:///a/b/c', 'file:///a?b'], ['file:///']],
    ['a:{+p}/z', ['a:b/z', 'a:b/z/z'], ['a:/z', 'a:b/zz']],
    ['a://x{#frag}', ['a://x', 'a://x#', 'a://x#a/b'], ['a://xa']],
    ['a://x{.ext}', ['a://x', 'a://x.md', 'a://x.tar.gz'], ['a://xmd', 'a://x.a/b']],
    ['a://x{/id}', ['a://x', 'a://x/1'], ['a://x/1/2', 'a://x1']],
    ['a://x{/a,b}', ['a://x', 'a://x/1', 'a://x/1/2'], ['a://x/1/2/3']],
    ['a://x{/p*}/z', ['a://x/z', 'a://x/1/2/z'], ['a://x', 'a://x/1?2/z']],
    [
      'a://x{;p,q}',
      ['a://x', 'a://x;p=1', 'a://x;p=1;q=2', 'a://x;q'],
      ['a://x;r=1', 'a://x;', 'a://x;p=1/'],
    ],
    [
      'a://x{?q,n}',
      ['a://x', 'a://x?q=1', 'a://x?n=1&q=2', 'a://x?q=', 'a://x?q=a/b?c'],
      ['a://x?', 'a://x?z=1', 'a://x?q=1&z=2', 'a://x&q=1'],
    ],
    ['a://x?v=1{&q}', ['a://x?v=1', 'a://x?v=1&q=2'], ['a://x?v=1&z=2']],
    ['a://x{?any*}', ['a://x?a=1&b=2&c=3'], ['a://x?=1', 'a://x#a']],
    ['a://{x:3}', ['a://abc'], ['a://']],
    ['a://{file-id}/{$x}', ['a://1/2'], ['a://1']],
    ['日本://{x}', ['日本://é🙂'], ['日本://']],
  ])('%s', (text, yes, no) => {
    expect(yes.filter((uri) => !matches(text, uri))).toEqual([]);
    expect(no.filter((uri) => matches(text, uri))).toEqual([]);
  });

  it('fits what the template expands to', () => {
    const value = fc.string({ minLength: 1, maxLength: 8 });
    const templates = [
      'a://{x}/{y}',
      'a:{+x}/{y}',
      'a:{x}{.y}',
      'a:{/x}{/y}',
      'a:{?x,y}',
      'a:{x}{?y}',
      'a:{#x}',
      'a:b?c=d{&x,y}',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...templates), value, value, (text, x, y) => {
        // Not with `{x,y}`: the SDK expands that without escaping.
        expect(matches(text, new UriTemplate(text).expand({ x, y }))).toBe(true);
      }),
    );
  });

  it('takes linear time where a regular expression would take years (CVE-2026-0621)', () => {
    const nested = `a:${'{a*}'.repeat(MAX_EXPRESSIONS)}!`;
    const started = performance.now();
    expect(matches(nested, `a:${','.repeat(MAX_URI_LENGTH - 2)}`)).toBe(false);
    expect(matches(`${'{+x}aaaaaaaaab'.repeat(MAX_EXPRESSIONS)}!`, 'a'.repeat(MAX_URI_LENGTH))).toBe(false);
    expect(matches(`${'{?a*}{&b*}{;c*}'.repeat(10)}!`, '?a=&b=;c='.repeat(900))).toBe(false);
    // Some milliseconds; the bound is for busy machines.
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('does not look at URIs that are too long', () => {
    expect(matches('a:{+x}', `a:${'b'.repeat(MAX_URI_LENGTH)}`)).toBe(false);
  });
});

describe('parseTemplate', () => {
  it.each([
    ['a{', /not closed/],
    ['a}', /"}" without "{" at 1/],
    ['{}', /empty expression/],
    ['{?}', /invalid variable/],
    ['{a,}', /invalid variable/],
    ['{a{b}}', /invalid variable/],
    ['{a b}', /invalid variable/],
    ['{a:0}', /invalid variable/],
    ['{a:b}', /invalid variable/],
    ['{=a}', /reserved operator/],
    ['{a}'.repeat(MAX_EXPRESSIONS + 1), /more than 32 expressions/],
    ['a'.repeat(MAX_TEMPLATE + 1), /longer than 2048/],
    [`{${'a,'.repeat(40)}a}`, /more than 32 variables/],
  ])('refuses %s', (text, reason) => {
    expect(parseTemplate(text)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  it('knows the scheme where it is not variable', () => {
    const schemeOf = (text: string): unknown => {
      const parsed = parseTemplate(text);
      return parsed.ok && parsed.template.scheme;
    };
    expect(['FILE:///{x}', 'a{x}:b', '{+uri}', 'a:b'].map(schemeOf)).toEqual(['file', '', '', 'a']);
  });

  it('never throws', () => {
    const piece = fc.constantFrom('{', '}', 'a', ',', '*', ':3', '?', '&', '/', '+', '#', '=', 'x://');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.array(piece, { maxLength: 20 }), (text, uri) => {
        const parsed = parseTemplate(text.join(''));
        const verdict = parsed.ok ? matchesTemplate(parsed.template, uri.join('')) : parsed.reason;
        expect(['boolean', 'string']).toContain(typeof verdict);
      }),
    );
  });
});

describe('parsePattern', () => {
  const glob = (text: string, uri: string): boolean => {
    const parsed = parsePattern(text);
    return parsed.ok && matchesTemplate(parsed.template, uri);
  };

  it.each([
    ['file://**', ['file:///a/b', 'file://'], ['http://a']],
    ['file:///*/b', ['file:///a/b', 'file:////b'], ['file:///a/c/b']],
    ['**', ['anything', ''], []],
    ['a?{b}', ['a?{b}'], ['ab', 'acb']],
    ['a', ['a'], ['aa']],
  ])('%s', (text, yes, no) => {
    expect(yes.filter((uri) => !glob(text, uri))).toEqual([]);
    expect(no.filter((uri) => glob(text, uri))).toEqual([]);
  });

  it('equals the regular expression it stands for', () => {
    const piece = fc.constantFrom('a', 'b', '/', '*', '**');
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 12 });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), letters, (pieces, uri) => {
        const text = pieces.join('');
        const expression = text.replace(/\*+/g, (stars) => (stars.length > 1 ? '.*' : '[^/]*'));
        expect(glob(text, uri)).toBe(new RegExp(`^${expression}$`).test(uri));
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses the empty one and the endless one', () => {
    expect([
      parsePattern('').ok,
      parsePattern('*a'.repeat(200)).ok,
      parsePattern('a'.repeat(3000)).ok,
    ]).toEqual([false, false, false]);
  });
});
