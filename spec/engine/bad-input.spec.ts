import { describe, expect, it, jest } from '@jest/globals';
import { BAD_INPUT } from '../support/bad-input/cases.ts';
import { badInputBench } from '../support/bad-input/bench.ts';
import { hostHearsNothing } from '../support/engines.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const bench = badInputBench();

describe('bad input', () => {
  it('is a corpus of 120 cases or more, each of another name', () => {
    expect(BAD_INPUT.length).toBeGreaterThanOrEqual(120);
    expect(new Set(BAD_INPUT.map(({ name }) => name)).size).toBe(BAD_INPUT.length);
  });

  it.each(BAD_INPUT)('$name', async (given) => {
    const error = await bench.errorOf(given);
    expect(error).toMatchObject({ name: 'TroupeError' });
    expect([given.code].flat()).toContain(error.code);
    if (given.server !== undefined) expect(error.server).toBe(given.server);
    expect(error.message).toMatch(given.says);
    expect(await bench.leftOpen()).toEqual([]);
    expect(bench.leaks()).toEqual([]);
  });
});
