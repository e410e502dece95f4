import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { MATRIX, ROWS } from '../support/hostile/rows.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (spec: string): string => readFileSync(`${ROOT}${spec}`, 'utf8');

describe('the inventory of hostile servers', () => {
  it('names each row once', () => {
    const ids = ROWS.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBeGreaterThanOrEqual(115);
  });

  const places = ROWS.flatMap(({ id, held }) => held.map((place) => ({ id, ...place })));

  it.each(places)('$id is held by $spec', ({ id, spec, test }) => {
    expect(existsSync(`${ROOT}${spec}`)).toBe(true);
    const text = read(spec);
    if (test === undefined) expect(text).toContain(`'${id}'`);
    // As a title: at the beginning of a call, or as a row of a table.
    else expect(titlesOf(text)).toContain(test);
  });

  it('names every row of the suite that runs on all transports', () => {
    const used = [...read(MATRIX).matchAll(/\brow\(\s*'([^']+)'/g)].map(([, id]) => id);
    const named = ROWS.filter(({ held }) => held.some(({ spec }) => spec === MATRIX)).map(({ id }) => id);
    expect(used).toHaveLength(named.length);
    expect(new Set(used)).toEqual(new Set(named));
  });
});

/** The text of every string of the file: titles stand in calls and in tables of cases. */
function titlesOf(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [, single, double] of text.matchAll(/'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"/g))
    found.add(single ?? double ?? '');
  return found;
}
