import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packAndInstall } from '../call/packed.ts';
import { machineLoad } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import {
  figure,
  missedOf,
  spreadOf,
  verdict,
  verdictTable,
  withSpread,
  type Spread,
  type Verdict,
} from '../support/verdict.ts';

const run = promisify(execFile);

export interface InsideRow {
  readonly part: string;
  readonly what: string;
  readonly value: Spread;
}

export interface InsideResult {
  readonly machine: { readonly cores: number; readonly load1: number; readonly node: string };
  readonly rows: readonly InsideRow[];
  readonly goals: readonly Verdict[];
  readonly missed: readonly string[];
}

interface Program {
  readonly part: string;
  readonly script: string;
  readonly settings?: Readonly<Record<string, number>>;
}

const TOOLS = 100;
const PROGRAMS: readonly Program[] = [
  { part: 'layer, ns', script: 'layers.mjs' },
  { part: 'pick, ns (strategy, replicas)', script: 'picks.mjs' },
  { part: 'reads', script: 'reads.mjs' },
  ...[10, 50, 1_000].map((servers) => ({
    part: `list of ${servers} × ${TOOLS}`,
    script: 'lists.mjs',
    settings: { servers, tools: TOOLS },
  })),
];

/** `[part, figure, text, bound]`: at most so much. */
const GOALS: ReadonlyArray<readonly [part: string, figure: string, text: string, bound: number]> = [
  ['list of 50 × 100', 'refreshCpuMs', 'list of 50 × 100, every server asked: CPU ms', 15],
  ['list of 1000 × 100', 'firstMs', 'list of 1 000 × 100, cold: ms', 1_000],
  ['list of 1000 × 100', 'afterChangeCpuMs', 'list of 1 000 × 100 after one change: CPU ms', 5],
  ['list of 1000 × 100', 'firstStallMs', 'list of 1 000 × 100, cold: longest standstill, ms', 20],
  ['list of 50 × 100', 'compiled', 'schemas compiled by listing', 0],
];

/** What things cost inside the packed engine: layers, picks, reads and lists, each program in a process of its own. */
export async function benchInside({ rounds = 3 }: { readonly rounds?: number } = {}): Promise<InsideResult> {
  const machine = { ...machineLoad(), node: process.versions.node };
  const packed = await packAndInstall();
  try {
    const found = new Map<string, Map<string, number[]>>();
    for (let round = 0; round < rounds; round += 1)
      for (const { part, script, settings } of PROGRAMS) {
        const figures = found.get(part) ?? new Map<string, number[]>();
        found.set(part, figures);
        for (const [what, value] of Object.entries(await ask(script, packed.entry, settings)))
          figures.set(what, [...(figures.get(what) ?? []), value]);
      }
    const rows = [...found].flatMap(([part, figures]) =>
      [...figures].map(([what, values]) => ({ part, what, value: spreadOf(values) })),
    );
    const goals = GOALS.flatMap(([part, what, text, bound]) => {
      const values = found.get(part)?.get(what);
      return values === undefined ? [] : [verdict(text, spreadOf(values), '≤', bound)];
    });
    return { machine, rows, goals, missed: missedOf(goals) };
  } finally {
    packed.remove();
  }
}

async function ask(
  script: string,
  entry: string,
  settings: Readonly<Record<string, number>> = {},
): Promise<Readonly<Record<string, number>>> {
  const program = fileURLToPath(new URL(script, import.meta.url));
  const dist = entry.slice(0, entry.lastIndexOf('/'));
  const { stdout } = await run(process.execPath, ['--expose-gc', program, dist, JSON.stringify(settings)], {
    timeout: 180_000,
  });
  return JSON.parse(stdout) as Readonly<Record<string, number>>;
}

export function printInside({ machine, rows, goals, missed }: InsideResult): string {
  return [
    `inside (Node ${machine.node}, ${machine.cores} cores, load ${machine.load1})`,
    table([
      ['part', 'what', 'median (spread)'],
      ...rows.map(({ part, what, value }) => [part, what, withSpread(value, figure)]),
    ]),
    '',
    verdictTable(goals),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
