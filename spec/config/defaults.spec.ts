import { describe, expect, it } from '@jest/globals';
import { OPTION_ROWS, optionsTable } from '../../lib/config/defaults.ts';
import { normalise } from '../../lib/config/normalise.ts';

function at(object: unknown, key: string): unknown {
  return key
    .split('.')
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part], object);
}

const NARROW_SPACE = /\u202f/g;

describe('the table of options', () => {
  const config = normalise({
    servers: { s: { command: 'x', hedge: true, adaptive: true, batch: true, rateLimit: { perSecond: 3 } } },
  });
  const server = config.servers[0] as unknown as Record<string, unknown>;

  it('states the numbers that the normaliser fills in', () => {
    const numbers = OPTION_ROWS.filter(
      (row) => /^[\d.\u202f]+$/.test(row.value) && !row.key.startsWith('rateLimit'),
    );
    expect(numbers.length).toBeGreaterThan(60);
    const shown = (row: (typeof numbers)[number]): [string, number] => [
      row.key,
      Number(row.value.replace(NARROW_SPACE, '')),
    ];
    const filled = (row: (typeof numbers)[number]): [string, unknown] => {
      if (row.scope === 'replica') return [row.key, at((server['replicas'] as unknown[])[0], row.key)];
      return [row.key, row.scope.includes('server') ? at(server, row.key) : at(config, row.key)];
    };
    expect(numbers.map(filled)).toEqual(numbers.map(shown));
  });

  it('states what the engine itself falls back to, where both have an option', () => {
    const both = OPTION_ROWS.filter((row) => row.scope === 'engine, server');
    expect(both.length).toBeGreaterThan(20);
    for (const row of both) expect([row.key, at(config, row.key)]).toEqual([row.key, at(server, row.key)]);
  });

  it('has a row for every key of a resolved server and of the configuration', () => {
    const known = new Set(OPTION_ROWS.flatMap((row) => row.key.split(', ').map((key) => key.split('.')[0])));
    const derived = new Set(['name', 'extensions', 'warnings']);
    const keys = [...Object.keys(server), ...Object.keys(config)].filter((key) => !derived.has(key));
    expect(keys.filter((key) => !known.has(key))).toEqual([]);
  });

  it('names each option once, with a unit and a meaning', () => {
    const keys = OPTION_ROWS.map((row) => row.key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const row of OPTION_ROWS) expect(`${row.unit}${row.about}`.length).toBeGreaterThan(5);
  });

  it('renders as a Markdown table with as many cells in each line', () => {
    const lines = optionsTable().trimEnd().split('\n');
    expect(lines).toHaveLength(OPTION_ROWS.length + 2);
    for (const line of lines) expect(line.replaceAll(String.raw`\|`, '').match(/\|/g)).toHaveLength(6);
    expect(optionsTable()).toContain('| `timeoutMs` | engine, server | 60\u202f000 | ms |');
    expect(optionsTable()).toContain('| `pool.maxConnections` | engine | unlimited | count |');
  });
});
