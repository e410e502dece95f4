import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { STALL_MS } from '../call/goals.ts';
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
import { insideLabel } from './labels.ts';

const run = promisify(execFile);

export const INSIDE_ROUNDS = 3;

export interface InsideRow {
  readonly part: string;
  /** For people: `insideLabel`. */
  readonly what: string;
  /** Of all runs of all rounds. */
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
const SIZES = [10, 50, 1_000];
const listOf = (servers: number): string => `list of ${servers} × ${TOOLS}`;

const PROGRAMS: readonly Program[] = [
  { part: 'layer, ns more than without it', script: 'layers.mjs' },
  { part: 'pick, ns (strategy, replicas)', script: 'picks.mjs' },
  { part: 'reads', script: 'reads.mjs' },
  // Both in processes of their own: neither warms the other up.
  ...SIZES.flatMap((servers) =>
    ['cold.mjs', 'lists.mjs'].map((script) => ({
      part: listOf(servers),
      script,
      settings: { servers, tools: TOOLS },
    })),
  ),
];

/** Of a program: by figure, once or by run. */
type Figures = Readonly<Record<string, number | readonly number[]>>;
type Found = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

/** `[servers, figure, text, bound]`: at most so much. */
const GOALS: ReadonlyArray<readonly [servers: number, figure: string, text: string, bound: number]> = [
  // Not the first time after the start, which is a row of its own: it collects what starting has left behind.
  [50, 'refreshCpuMs', 'every server asked again, later (median of five): CPU ms', 15],
  [1_000, 'coldMs', 'cold (connected, nothing listed yet): ms', 1_000],
  [1_000, 'afterChangeCpuMs', 'first list after one change: CPU ms', 5],
  [50, 'compiled', 'schemas compiled by listing', 0],
];

/** Where the event loop is watched, by what the engine does meanwhile. */
const STALLS: ReadonlyArray<readonly [text: string, figures: readonly string[]]> = [
  ['start and first list', ['startStallMs']],
  ['lists', ['coldStallMs', 'firstStallMs', 'refreshStallMs']],
];

/** What things cost inside the packed engine: layers, picks, reads and lists, each program in a process of its own. */
export async function benchInside({
  rounds = INSIDE_ROUNDS,
}: { readonly rounds?: number } = {}): Promise<InsideResult> {
  const machine = { ...machineLoad(), node: process.versions.node };
  const packed = await packAndInstall();
  try {
    const found = new Map<string, Map<string, number[]>>();
    for (let round = 0; round < rounds; round += 1)
      for (const { part, script, settings } of PROGRAMS) {
        const figures = found.get(part) ?? new Map<string, number[]>();
        found.set(part, figures);
        for (const [what, values] of Object.entries(await ask(script, packed.entry, settings)))
          figures.set(what, (figures.get(what) ?? []).concat(values));
      }
    const rows = [...found].flatMap(([part, figures]) =>
      [...figures].map(([what, values]) => ({ part, what, value: spreadOf(values) })),
    );
    const goals = insideVerdicts(found);
    return { machine, rows, goals, missed: missedOf(goals) };
  } finally {
    packed.remove();
  }
}

export function insideVerdicts(found: Found): readonly Verdict[] {
  const goals = GOALS.flatMap(([servers, what, text, bound]) => {
    const values = found.get(listOf(servers))?.get(what);
    return values === undefined ? [] : [verdict(`${listOf(servers)}, ${text}`, spreadOf(values), '≤', bound)];
  });
  return [...goals, ...STALLS.map(([text, figures]) => stallVerdict(text, figures, found))];
}

/** The worst counts. */
function stallVerdict(text: string, figures: readonly string[], found: Found): Verdict {
  const seen = SIZES.map((servers) => {
    const medians = figures.map((what) => spreadOf(found.get(listOf(servers))?.get(what) ?? []).median);
    return { servers, ms: Math.max(...medians) };
  });
  const measured = Math.max(...seen.map(({ ms }) => ms));
  return {
    goal: `${text}, event loop at a standstill by own work: ≤ ${STALL_MS} ms`,
    measured,
    spread: seen.map(({ servers, ms }) => `${servers} servers: ${figure(ms)}`).join(', '),
    held: measured <= STALL_MS,
  };
}

async function ask(
  script: string,
  entry: string,
  settings: Readonly<Record<string, number>> = {},
): Promise<Figures> {
  const program = fileURLToPath(new URL(script, import.meta.url));
  const dist = entry.slice(0, entry.lastIndexOf('/'));
  const { stdout } = await run(process.execPath, ['--expose-gc', program, dist, JSON.stringify(settings)], {
    timeout: 180_000,
  });
  return JSON.parse(stdout) as Figures;
}

export function printInside({ machine, rows, goals, missed }: InsideResult): string {
  return [
    `inside (Node ${machine.node}, ${machine.cores} cores, load ${machine.load1})`,
    table([
      ['part', 'what', 'median (spread)'],
      ...rows.map(({ part, what, value }) => [part, insideLabel(what), withSpread(value)]),
    ]),
    '',
    verdictTable(goals),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
