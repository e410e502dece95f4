import { describe, expect, it } from '@jest/globals';
import { fitsModels } from '../../lib/catalog/name-text.ts';
import { exposedName, wishedName } from '../../lib/catalog/naming.ts';

describe('exposedName', () => {
  it('puts the server in front', () => {
    expect(exposedName('github', 'create_issue')).toBe('github__create_issue');
  });

  it('hashes what has to be changed, and nothing else', () => {
    expect(exposedName('s', 'n'.repeat(61))).toBe(`s__${'n'.repeat(61)}`);
    for (const name of [
      'n'.repeat(62),
      'fs.read',
      'a b',
      'émoji 🙂',
      'x'.repeat(10_000),
      '\u202etxt',
      'a\u0000b',
    ]) {
      expect(exposedName('s', name)).toMatch(/^s__[A-Za-z0-9_-]*_[0-9a-f]{12}$/);
      expect(fitsModels(exposedName('s', name))).toBe(true);
    }
    expect(exposedName('my server', 'x')).toMatch(/^my_server__x_[0-9a-f]{12}$/);
  });

  it('does not confuse names that differ only in what is changed', () => {
    const names = ['a.b', 'a b', 'a/b', 'a_b', 'a\u0000b', 'a🙂b', 'a\ud800b'].map((name) =>
      exposedName('s', name),
    );
    expect(new Set(names).size).toBe(names.length);
  });

  it('knows no special names', () => {
    expect(exposedName('__proto__', 'constructor')).toBe('__proto____constructor');
    expect(exposedName('s', '')).toBe('s__');
  });

  it('shows the original with `transparent` where it fits', () => {
    expect(exposedName('s', 'read', 'transparent')).toBe('read');
    expect(exposedName('s', 'fs.read', 'transparent')).toMatch(/^s__fs_read_[0-9a-f]{12}$/);
  });
});

describe('a naming function', () => {
  it('is followed', () => {
    expect(wishedName('s', 'read', (server, name) => `${name}-of-${server}`)).toEqual({ name: 'read-of-s' });
  });

  it.each<[string, () => unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('boom');
      },
      /threw: boom/,
    ],
    ['returns a number', () => 7, /returned number/],
    ['returns a promise', async () => 'x', /returned object/],
    ['returns nothing', () => '', /empty/],
    ['returns too much', () => 'x'.repeat(65), /65 characters, at most 64/],
  ])('that %s is reported and replaced', (_, naming, problem) => {
    const wish = wishedName('s', 'read', naming as () => string);
    expect(wish.name).toMatch(/^s__read_[0-9a-f]{12}$/);
    expect(wish.problem).toMatch(problem);
  });

  it('that returns other characters keeps what can be kept', () => {
    const wish = wishedName('s', 'read', () => 's.read');
    expect(wish.name).toMatch(/^s_read_[0-9a-f]{12}$/);
    expect(wish.problem).toContain('"s.read"');
  });
});
