import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { REPORTS, type Report } from '../../benchmarks/report/reports.ts';
import { keptResult, type Kept } from '../../benchmarks/support/results.ts';
import { ROOT } from '../support/programs.ts';

const RESULTS = join(ROOT, 'benchmarks/results');

function drawnOf<T>(name: string, draw: (result: Kept<T>) => Report): Readonly<Record<string, string>> {
  const kept = keptResult<T>(name);
  if (kept === undefined) return {};
  const { markdown, plots } = draw(kept);
  return { [`${name}.md`]: markdown, ...plots };
}

const DRAWN = Object.entries({
  ...drawnOf('call', REPORTS.call),
  ...drawnOf('extremes', REPORTS.extremes),
  ...drawnOf('inside', REPORTS.inside),
  ...drawnOf('peers', REPORTS.peers),
  ...drawnOf('profile', REPORTS.profile),
  ...drawnOf('start', REPORTS.start),
});

describe('the reports that are kept', () => {
  it.each(DRAWN)('%s is as drawn from the kept result (run `npm run bench -- --redraw`)', (file, text) => {
    expect(text).toBe(readFileSync(join(RESULTS, file), 'utf8'));
  });

  it('of the peers, of which nothing is asked, holds no goals', () => {
    expect(Object.fromEntries(DRAWN)['peers.md']).not.toMatch(/goals are held/);
  });

  it('are there', () => {
    expect(DRAWN.length).toBeGreaterThan(5);
  });
});
