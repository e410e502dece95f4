import { expect, it } from '@jest/globals';
import { whyNotKept } from '../../benchmarks/support/keeping.ts';

it.each([
  [{ quick: false }, undefined],
  [{ quick: false, rounds: 5 }, undefined],
  [{ quick: false, rounds: 7 }, undefined],
  [{ quick: false, rounds: 1 }, '1 of the 5 rounds of a measurement'],
  [{ quick: true }, 'a quick run'],
  [{ quick: true, rounds: 5 }, 'a quick run'],
  [{ quick: false, transport: ['http'] }, 'http alone'],
])('a run of %j replaces a measurement of five rounds unless it is less: %s', (asked, why) => {
  expect(whyNotKept(asked, 5)).toBe(why);
});
