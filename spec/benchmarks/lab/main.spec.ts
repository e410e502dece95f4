import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { main } from '../../../benchmarks/lab/main.ts';

/** A trace without fault. */
const GOOD = join(mkdtempSync(join(tmpdir(), 'lab-')), 'good.jsonl');
writeFileSync(GOOD, '{"at":0,"size":1}\n');
afterAll(() => rmSync(dirname(GOOD), { recursive: true }));

async function lab(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(
    args,
    (line) => out.push(line),
    (line) => err.push(line),
  );
  return { code, out: out.join('\n'), err: err.join('\n') };
}

describe('npm run lab', () => {
  it.each([
    [
      ['compare', '--workload', 'poisson', '--replicas', '4', '--strategies', 'best'],
      /no strategy "best"; there are .*p2c/,
    ],
    [
      ['compare', '--workload', 'poisson', '--replicas', '0', '--strategies', 'p2c'],
      /--replicas must be a whole number/,
    ],
    [['compare', '--workload', 'tides', '--replicas', '2', '--strategies', 'p2c'], /no workload "tides"/],
    [['compare', '--replicas', '2', '--strategies', 'p2c'], /--workload is missing/],
    [['compare', '--workload', 'poisson', '--replicas', '2', '--strategies', ','], /names no strategy/],
    [['validate', '--only', 'V99'], /no "V99"/],
    [['guess'], /no command "guess"/],
    [['replay', '--trace', '/nowhere', '--replicas', '2', '--strategies', 'p2c'], /cannot be read/],
    [['validate', '--fast'], /^validate takes no --fast; it takes --help, --quick, --only$/],
    [['compare', '--quick', '--replicas', '2'], /compare takes no --quick/],
    [['mutants', '--quick'], /mutants takes no --quick/],
    [['validate', '--only'], /--only needs a value/],
    [['validate', '--quick=yes'], /--quick takes no value/],
    [
      ['compare', '--workload', 'poisson', '--replicas', '-1', '--strategies', 'p2c'],
      /--replicas must be a whole number of at least 1, not "-1"/,
    ],
    [
      ['replay', '--trace', GOOD, '--replicas', '2', '--strategies', 'p2c'],
      /--slots is missing: how many requests/,
    ],
    [
      ['replay', '--trace', GOOD, '--replicas', '2', '--slots', '1', '--strategies', 'p2c', '--speeds', '1,'],
      /--speeds must be numbers above 0/,
    ],
    [['live', '--repetitions', '3', '--tries', '1'], /--tries must be at least --repetitions \(3\)/],
    [
      ['compare', '--workload', 'poisson', '--replicas', '2', '--strategies', 'prequal', '--engine'].concat(
        '--requests',
        '50',
      ),
      /report no load/,
    ],
    [
      ['compare', '--workload', 'poisson', '--replicas', '2', '--strategies', 'p2c', '--engine'].concat(
        '--clients',
        '2',
      ),
      /--engine runs one engine/,
    ],
  ])('%j is a usage error of one sentence', async (args, message) => {
    const { code, err } = await lab(...args);
    expect(code).toBe(2);
    expect(err).toMatch(message);
    expect(err.split('\n')).toHaveLength(1);
  });

  it('refuses an unsorted trace and names the line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lab-'));
    try {
      const file = join(folder, 'trace.jsonl');
      writeFileSync(file, '{"at":5,"size":1}\n{"at":3,"size":1}\n');
      const { code, err } = await lab('replay', '--trace', file, '--replicas', '2', '--slots', '1');
      expect(code).toBe(2);
      expect(err).toContain('line 2: the trace is not sorted');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each(['compare', 'validate', 'live'])('%s --help says what there is', async (command) => {
    const { code, out } = await lab(command, '--help');
    expect(code).toBe(0);
    expect(out).toContain('npm run lab -- <command>');
  });

  it('exits with 0 where all holds', async () => {
    const { code, out } = await lab('validate', '--quick', '--only', 'V31,V36');
    expect(code).toBe(0);
    expect(out).toContain('all hold');
  });
});
