import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const text = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8');
const named = [...new Set([...text.matchAll(/`(spec\/[^`]+)`/g)].map(([, path]) => path ?? ''))];
const promises = text
  .slice(0, text.indexOf('## What does not'))
  .split(/\n(?=- \*\*)/)
  .slice(1);

/** The files that a pattern with `*` in its last part stands for. */
function filesOf(pattern: string): string[] {
  if (!pattern.includes('*')) return existsSync(join(ROOT, pattern)) ? [pattern] : [];
  const folder = dirname(pattern);
  const [before = '', after = ''] = pattern.slice(folder.length + 1).split('*');
  return readdirSync(join(ROOT, folder)).filter((name) => name.startsWith(before) && name.endsWith(after));
}

describe('SECURITY.md', () => {
  it.each(named)('names specs that are there: %s', (pattern) => {
    const files = filesOf(pattern);
    expect(files.length).toBeGreaterThan(0);
    expect(files.some((name) => name.endsWith('.spec.ts'))).toBe(true);
  });

  it('promises nothing without naming its spec', () => {
    expect(promises.length).toBeGreaterThanOrEqual(12);
    for (const promise of promises) expect(promise).toMatch(/`spec\//);
  });

  it('says what it does not promise', () => {
    expect(text).toContain('## What does not');
  });
});
