import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { contest, TRANSPORTS, type Contender, type Transport } from '../call/contest.ts';
import { packAndInstall, type Packed } from '../call/packed.ts';
import { ratioOf } from '../call/summary.ts';
import { machineLoad } from '../support/statistics.ts';
import {
  missedOf,
  spreadOf,
  verdict,
  verdictTable,
  withSpread,
  type Spread,
  type Verdict,
} from '../support/verdict.ts';
import { table } from '../support/table.ts';

const run = promisify(execFile);
const PROBE = fileURLToPath(new URL('probe.mjs', import.meta.url));

/** Nine megabytes: most of what the official client takes (it gives up at 10 MB). */
const BIG = 9_000_000;
const TOOLS = 20;
const IN_FLIGHT = 256;
const LISTENER_CALLS = 10_000;
const LISTENERS_IN_FLIGHT = 16;

export const EXTREMES_ROUNDS = 3;

export interface ExtremeRow {
  readonly what: string;
  readonly figures: Readonly<Record<string, Spread>>;
}

export interface ExtremesResult {
  readonly machine: { readonly cores: number; readonly load1: number; readonly node: string };
  readonly rows: readonly ExtremeRow[];
  readonly goals: readonly Verdict[];
  readonly missed: readonly string[];
}

interface Probes {
  readonly answer: Readonly<Record<number, { readonly ms: number; readonly cpuMs: number }>>;
  readonly listeners: { readonly most: number; readonly warnings: number };
  readonly idle: { readonly bytes: number };
  readonly lone: { readonly aloneUs: number; readonly besideUs: number; readonly besideP99Us: number };
}

interface Part {
  readonly rows: readonly ExtremeRow[];
  readonly goals: readonly Verdict[];
}

/** What is not the usual call: large answers, many connections that do nothing, a neighbour under load. */
export async function benchExtremes({
  rounds = EXTREMES_ROUNDS,
}: { readonly rounds?: number } = {}): Promise<ExtremesResult> {
  const machine = { ...machineLoad(), node: process.versions.node };
  const packed = await packAndInstall();
  try {
    const parts = [
      await bigAnswers(packed, rounds),
      await bigPayloads(packed, rounds),
      await listeners(packed),
      await idleHeap(packed, rounds),
      await loneEcho(packed, rounds),
    ];
    const goals = parts.flatMap((part) => part.goals);
    return { machine, rows: parts.flatMap((part) => part.rows), goals, missed: missedOf(goals) };
  } finally {
    packed.remove();
  }
}

async function ask<K extends keyof Probes>(
  probe: K,
  module: Contender,
  packed: Packed,
  settings: Readonly<Record<string, unknown>>,
): Promise<Probes[K]> {
  const job = JSON.stringify({ ...settings, probe, module, packed: packed.entry });
  const { stdout } = await run(process.execPath, ['--expose-gc', '--no-warnings', PROBE, job], {
    timeout: 120_000,
  });
  return JSON.parse(stdout) as Probes[K];
}

/** One probe of several contenders, round by round; who begins changes. */
async function interleaved<K extends keyof Probes>(
  probe: K,
  contenders: readonly Contender[],
  packed: Packed,
  rounds: number,
  settings: Readonly<Record<string, unknown>>,
): Promise<ReadonlyMap<Contender, ReadonlyArray<Probes[K]>>> {
  const found = new Map(contenders.map((name) => [name, [] as Array<Probes[K]>]));
  for (let round = 0; round < rounds; round += 1)
    for (let i = 0; i < contenders.length; i += 1) {
      const name = contenders[(i + round) % contenders.length] as Contender;
      found.get(name)?.push(await ask(probe, name, packed, settings));
    }
  return found;
}

function rowOf<T>(
  what: string,
  found: ReadonlyMap<Contender, readonly T[]>,
  figure: (value: T) => number,
): ExtremeRow {
  return {
    what,
    figures: Object.fromEntries([...found].map(([name, values]) => [name, spreadOf(values.map(figure))])),
  };
}

/** Ours against another, round by round. */
function against<T>(
  found: ReadonlyMap<Contender, readonly T[]>,
  other: Contender,
  figure: (value: T) => number,
): Spread {
  const theirs = found.get(other) ?? [];
  return spreadOf((found.get('troupe') ?? []).map((value, i) => figure(value) / figure(theirs[i] as T)));
}

async function bigAnswers(packed: Packed, rounds: number): Promise<Part> {
  const sizes = [BIG / 9, BIG];
  const found = await interleaved('answer', ['bare', 'sdk2', 'troupe'], packed, rounds, { sizes, times: 7 });
  const msOf =
    (bytes: number) =>
    (answer: Probes['answer']): number =>
      answer[bytes]?.ms ?? Number.NaN;
  const growth = spreadOf((found.get('troupe') ?? []).map((a) => msOf(BIG)(a) / msOf(BIG / 9)(a)));
  return {
    rows: sizes.map((bytes) => rowOf(`an answer of ${bytes / 1e6} MB over stdio, ms`, found, msOf(bytes))),
    goals: [
      verdict('an answer of 9 MB over stdio, times bare', against(found, 'bare', msOf(BIG)), '≤', 1.3),
      // Nine times as much; what is linear may have a bad day, what is quadratic takes 81 times as long.
      verdict('an answer of 9 MB over stdio, times one of 1 MB', growth, '≤', 18),
    ],
  };
}

async function bigPayloads(packed: Packed, rounds: number): Promise<Part> {
  const contenders: readonly Contender[] = ['bare', 'sdk2', 'sdk1', 'troupe'];
  const inFlight = [1, 16];
  const visits = await contest(
    {
      transports: TRANSPORTS,
      contenders,
      inFlight,
      rounds,
      windowMs: 400,
      warmMs: 300,
      payloadBytes: 100_000,
    },
    packed,
  );
  const rows: ExtremeRow[] = [];
  const goals: Verdict[] = [];
  const figures = (transport: Transport, n: number, name: Contender): readonly number[] =>
    (visits.get(transport)?.get(name) ?? []).flatMap(({ windows }) =>
      windows.filter((w) => w.inFlight === n).map((w) => w.perSecond),
    );
  for (const transport of TRANSPORTS) {
    for (const n of inFlight) {
      rows.push({
        what: `100 kB there and back, ${transport}, ${n} in flight, calls/s`,
        figures: Object.fromEntries(
          contenders.map((name) => [name, spreadOf(figures(transport, n, name))] as const),
        ),
      });
      for (const other of ['sdk2', 'sdk1'] as const) {
        const ratio = ratioOf(visits, transport, n, 'troupe', other, 'perSecond');
        if (ratio !== undefined)
          goals.push(
            verdict(`100 kB, ${transport}, ${n} in flight, calls per second, times ${other}`, ratio, '≥', 1),
          );
      }
    }
  }
  return { rows, goals };
}

async function listeners(packed: Packed): Promise<Part> {
  const settings = { calls: LISTENER_CALLS, inFlight: LISTENERS_IN_FLIGHT };
  const rows: ExtremeRow[] = [];
  const goals: Verdict[] = [];
  for (const transport of ['stdio', 'http'] as const) {
    const found = await interleaved('listeners', ['sdk2', 'troupe'], packed, 1, { ...settings, transport });
    const what = `${LISTENER_CALLS} calls over ${transport}, ${LISTENERS_IN_FLIGHT} in flight, one signal`;
    rows.push(rowOf(`${what}: most listeners at once`, found, ({ most }) => most));
    rows.push(rowOf(`${what}: warnings of Node`, found, ({ warnings }) => warnings));
    const ours = found.get('troupe') ?? [];
    goals.push(
      verdict(`${what}: listeners`, spreadOf(ours.map(({ most }) => most)), '≤', LISTENERS_IN_FLIGHT + 1),
      verdict(`${what}: warnings`, spreadOf(ours.map(({ warnings }) => warnings)), '≤', 0),
    );
  }
  return { rows, goals };
}

async function idleHeap(packed: Packed, rounds: number): Promise<Part> {
  const contenders: readonly Contender[] = ['bare', 'sdk2', 'sdk1', 'troupe'];
  const found = await interleaved('idle', contenders, packed, rounds, { count: 16, tools: TOOLS });
  const kilobytes = ({ bytes }: Probes['idle']): number => bytes / 1_000;
  const what = `heap of an idle stdio connection with ${TOOLS} tools, kB`;
  return {
    rows: [rowOf(what, found, kilobytes)],
    goals: [verdict(what, spreadOf((found.get('troupe') ?? []).map(kilobytes)), '≤', 60)],
  };
}

async function loneEcho(packed: Packed, rounds: number): Promise<Part> {
  const settings = { inFlight: IN_FLIGHT, windowMs: 1_000 };
  const found = await interleaved('lone', ['bare', 'sdk2', 'sdk1', 'troupe'], packed, rounds, settings);
  const what = `a lone echo beside ${IN_FLIGHT} in flight on another server`;
  const slower = spreadOf((found.get('troupe') ?? []).map(({ aloneUs, besideUs }) => besideUs / aloneUs));
  return {
    rows: [
      rowOf('a lone echo, nothing beside it, p50 µs', found, ({ aloneUs }) => aloneUs),
      rowOf(`${what}, p50 µs`, found, ({ besideUs }) => besideUs),
      rowOf(`${what}, p99 µs`, found, ({ besideP99Us }) => besideP99Us),
    ],
    goals: [verdict(`${what}, p50, times alone`, slower, '≤', 2)],
  };
}

export function printExtremes({ machine, rows, goals, missed }: ExtremesResult): string {
  const names = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const body = rows.map(({ what, figures }) => [
    what,
    ...names.map((name) => (figures[name] === undefined ? '' : withSpread(figures[name]))),
  ]);
  return [
    `extremes (Node ${machine.node}, ${machine.cores} cores, load ${machine.load1})`,
    table([['', ...names], ...body]),
    '',
    verdictTable(goals),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
