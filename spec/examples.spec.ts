import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { ROOT, runTypeScript } from './support/programs.ts';

jest.setTimeout(180_000);

/** What each example is for, as it shows in what it writes. */
const ESSENCE: Readonly<Record<string, readonly RegExp[]>> = {
  'compare-strategies.ts': [/^ewma-least-outstanding +\d/m, /^stay-if-idle +\d/m, /^Use [a-z-]+: p99 /m],
  'custom-transport.ts': [/^\{"rows":\[\{"moons":3\}\]\} in \d+ bytes, both ways$/m],
  'embedding.ts': [
    /^15 tools, 0 failures$/m,
    /^the largest planet here: \{"rows":\[\{"name":"Earth"\}\]\}$/m,
    /^deadline_exceeded \(sent\): /m,
  ],
  'fan-out-progress.ts': [
    /^ {2}one +71 × 839 × 1471 × 6857$/m,
    /^ {2}slow +\[deadline_exceeded\] slow: /m,
    /^ {2}1 of 4\n {2}2 of 4\n {2}3 of 4\n {2}4 of 4\n {2}89 × 97$/m,
    /^the first answer: 71 × 839 × 1471 × 6857, 0 failures$/m,
  ],
  'observing-states.ts': [
    /^memory: Connected → Error \(again in \d+(\.\d+)? ms\)$/m,
    /^seen: Connected → Error → Connecting → Initializing → Connected$/m,
  ],
  'policy-engine.ts': [
    /^ada sees db__query, db__execute$/m,
    /^eve sees nothing$/m,
    /^ada: SELECT name .*\n {2}\{"rows":\[\{"name":"Earth"\}\]\}$/m,
    /^ada: DELETE FROM planet\n {2}\[denied\] db: not allowed: tools\/call db__query$/m,
    /^eve: SELECT name .*\n {2}\[not_found\] /m,
    /^why: deny by nothing-is-deleted \(cedar\)$/m,
  ],
  'replicas-failover.ts': [
    /^killing factors#\d with [1-9]\d* calls in flight$/m,
    /^factors#\d: Connected → Error$/m,
    /^\d+ \+ \d+ \+ \d+.* calls answered by \d+ processes, \d+ asked again, 0 failed$/m,
  ],
};

/** Run by specs of their own. */
const ELSEWHERE = new Set(['main.ts']);

const examples = readdirSync(join(ROOT, 'examples')).filter(
  (name) => name.endsWith('.ts') && !ELSEWHERE.has(name),
);

describe('the examples', () => {
  it('has an example for each expectation', () => {
    expect(Object.keys(ESSENCE).filter((name) => !examples.includes(name))).toEqual([]);
  });

  it.each(examples)('%s ends well and shows what it is for', async (name) => {
    const { code, stdout, stderr } = await runTypeScript(join('examples', name));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toBe('');
    for (const essence of ESSENCE[name] ?? []) expect(stdout).toMatch(essence);
  });
});
