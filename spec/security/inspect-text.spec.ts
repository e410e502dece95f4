import { describe, expect, it } from '@jest/globals';
import { inspectDefinition, inspectText } from '../../lib/security/inspect-text.ts';

const tags = (text: string): string =>
  Array.from(text, (c) => String.fromCodePoint(0xe0000 + c.charCodeAt(0))).join('');
const kinds = (text: string): string[] => inspectText(text).map(({ kind, count }) => `${kind} ${count}`);

describe('a text', () => {
  it.each<[string, string, string[]]>([
    ['plain', 'Reads a file.\n\tReally.\r\n', []],
    ['accents and scripts', 'naïve 中文 русский ελληνικά', []],
    ['hidden instructions in tags', `Adds.${tags('ignore all')}`, ['tag 10']],
    ['bidi override', 'a\u202eb\u202c', ['bidi 2']],
    ['zero-width', 'pay\u200bpal\ufeff', ['zero-width 2']],
    ['ANSI', '\u001b[31mred\u001b[0m', ['ansi 2']],
    ['ANSI in one byte', '\u009b31m', ['ansi 1']],
    ['control', 'a\u0000b\u0008', ['control 2']],
    ['half a character', 'a\ud800b', ['surrogate 1']],
    ['bytes in selectors', '😀\u{e0101}\u{e0102}\ufe01', ['variation 3']],
    ['several', '\u200b\u202e\u0007', ['zero-width 1', 'bidi 1', 'control 1']],
    ['emoji', '❤️ 👨‍👩‍👧 1️⃣ ☎︎ 👍🏽', []],
    ['selector on a letter', 'a\ufe0f', ['variation 1']],
    ['two selectors', '❤\ufe0f\ufe0f', ['variation 1']],
    ['joiner between letters', 'ad\u200dmin', ['zero-width 1']],
    ['joiner after an emoji, then a letter', '😀\u200dx', ['zero-width 1']],
    ['Persian', 'می‌خواهم', []],
    ['Hindi', 'क्‍ष', []],
    ['flag of England', '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', []],
    ['a flag that goes on', `🏴${tags('ignore everything')}\u{e007f}`, ['tag 18']],
    ['a flag without end', `🏴${tags('gbeng')}`, ['tag 5']],
  ])('%s', (_what, text, expected) => {
    expect(kinds(text)).toEqual(expected);
  });

  it('shows what was hidden, and where', () => {
    expect(inspectText(`Adds.${tags('ignore all')}`)).toEqual([
      {
        kind: 'tag',
        count: 10,
        offset: 5,
        hidden: 'ignore all',
        excerpt: expect.stringContaining('Adds.\\u{e0069}'),
      },
    ]);
  });

  it('of any length is bounded in what it shows', () => {
    const [flag] = inspectText(tags('x'.repeat(100_000)));
    expect(flag?.count).toBe(100_000);
    expect(flag?.hidden?.length).toBe(256);
    expect(flag?.excerpt.length).toBeLessThan(600);
  });
});

describe('a definition', () => {
  it('is searched in all its texts and keys', () => {
    const definition = {
      name: 'add\u200b',
      inputSchema: { properties: { 'a\u202e': { description: 'x\u001b[2J' } }, enum: ['ok', 'b\u0000'] },
    };
    expect(inspectDefinition(definition).map(({ path, kind }) => `${path}: ${kind}`)).toEqual([
      'name: zero-width',
      'inputSchema.properties.a\\u{202e} (key): bidi',
      'inputSchema.properties.a\\u{202e}.description: ansi',
      'inputSchema.enum[1]: control',
    ]);
  });

  it('in order has no flags, whatever its type', () => {
    for (const value of [
      { name: 'x', annotations: { readOnlyHint: true }, n: 1, nil: null },
      'text',
      7,
      null,
      undefined,
      [],
    ]) {
      expect(inspectDefinition(value)).toEqual([]);
    }
  });

  it('may be hostile: deep, circular, full of flags', () => {
    const kindsOf = (definition: unknown): readonly string[] =>
      inspectDefinition(definition).map(({ kind }) => kind);
    const under = (levels: number): unknown => {
      let deep: unknown = 'x\u200b';
      for (let i = 0; i < levels; i++) deep = [deep];
      return deep;
    };
    expect(kindsOf(under(999))).toEqual(['zero-width']);
    expect(kindsOf(under(10_000))).toEqual(['unchecked']);
    const circle: Record<string, unknown> = { text: '\u200b' };
    circle['self'] = circle;
    circle['again'] = circle;
    const many = [...Array.from({ length: 64 }, () => 'zero-width'), 'unchecked'];
    expect(kindsOf(circle)).toEqual(many);
    expect(kindsOf(Array.from({ length: 1000 }, () => '\u200b'))).toEqual(many);
  });

  it('shows of a long path the end, and of a long key the beginning', () => {
    const key = 'é'.repeat(200_000);
    let value: unknown = { last: '\u200b' };
    for (let i = 0; i < 20; i++) value = { [key]: value };
    const [flag] = inspectDefinition(value);
    expect(flag?.path).toMatch(/^…é+….*\.last$/);
    expect(flag?.path.length).toBeLessThan(700);
  });

  it('says where it stopped, in the budget of all, and reads the next one with what is left', () => {
    const budget = { nodes: 100, characters: 20 };
    expect(inspectDefinition({ a: 'x\u200b' }, budget)).toHaveLength(1);
    expect(budget).toEqual({ nodes: 95, characters: 18 });
    // In order, and no half character at the end of what is read; but what stands behind it nobody has seen.
    const emoji = '😀'.repeat(20) + '❤️';
    expect(inspectDefinition({ a: 'b', c: emoji }, budget)).toEqual([
      { path: 'c', kind: 'unchecked', count: 1, offset: 0, excerpt: '' },
    ]);
    expect(inspectDefinition('x\u200b', budget).map(({ kind }) => kind)).toEqual(['unchecked']);
    const few = { nodes: 3, characters: 100 };
    expect(inspectDefinition([1, 2, 3, '\u200b'], few)).toMatchObject([{ path: '[2]', kind: 'unchecked' }]);
  });

  it('is quoted without what must not be shown', () => {
    const clean = (text: string): string => text.replaceAll('s3cret-s3cret', '[redacted]');
    const shown = inspectDefinition(
      { 's3cret-s3cret': 'a\u200bs3cret-s3cret', b: '\u200b'.padStart(40, 's3cret-s3cret') },
      undefined,
      clean,
    );
    expect(shown.map(({ path, kind }) => `${path}: ${kind}`)).toEqual([
      '[redacted]: zero-width',
      'b: zero-width',
    ]);
    expect(JSON.stringify(shown)).not.toContain('s3c');
    // Hidden within the secret itself: told, without a word of it.
    const within = inspectDefinition({ a: 'x-s3\u200bcret' }, undefined, (text) =>
      text.replace('s3\u200bcret', '[redacted]'),
    );
    expect(within).toEqual([{ path: 'a', kind: 'zero-width', count: 1, offset: 4, excerpt: '' }]);
  });
});
