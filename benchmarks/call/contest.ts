import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Packed } from './packed.ts';

const run = promisify(execFile);

export const TRANSPORTS = ['memory', 'stdio', 'http'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export const CONTENDERS = ['bare', 'sdk2', 'sdk1', 'troupe', 'troupe-heavy'] as const;
export type Contender = (typeof CONTENDERS)[number];

/** One window of one contender, as `window.mjs` measures it. */
export interface Window {
  readonly inFlight: number;
  readonly calls: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of the client's process, all threads. */
  readonly cpuUs: number;
  readonly gcShare: number;
  readonly stallMs: number;
  /** Cores that others kept busy meanwhile. */
  readonly foreign: number;
}

export interface Visit {
  readonly windows: readonly Window[];
  readonly heapBytes: number;
  readonly calls: number;
  readonly counters?: Readonly<Record<string, number>>;
  readonly warnings: Readonly<Record<string, number>>;
}

export interface ContestSettings {
  readonly transports: readonly Transport[];
  readonly contenders: readonly Contender[];
  readonly inFlight: readonly number[];
  readonly rounds: number;
  readonly windowMs: number;
  readonly warmMs: number;
  readonly payloadBytes: number;
}

export type Visits = ReadonlyMap<Transport, ReadonlyMap<Contender, readonly Visit[]>>;

const CONTENDER = fileURLToPath(new URL('contender.mjs', import.meta.url));
/** Longest life of one contender's process, milliseconds: some ten times what it takes on a quiet machine. */
const VISIT_MS = 120_000;

/** Every contender in a process of its own per round, one after the other; who begins changes with the round. */
export async function contest(settings: ContestSettings, packed: Packed): Promise<Visits> {
  const visits = new Map(
    settings.transports.map((transport) => [
      transport,
      new Map(settings.contenders.map((contender) => [contender, [] as Visit[]])),
    ]),
  );
  for (let round = 0; round < settings.rounds; round += 1) {
    for (const [transport, byContender] of visits) {
      for (const contender of rotated(settings.contenders, round))
        byContender.get(contender)?.push(await visit(contender, transport, settings, packed));
    }
  }
  return visits;
}

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const from = by % list.length;
  return [...list.slice(from), ...list.slice(0, from)];
}

async function visit(
  contender: Contender,
  transport: Transport,
  settings: ContestSettings,
  packed: Packed,
): Promise<Visit> {
  const heavy = contender === 'troupe-heavy';
  const job = {
    ...settings,
    module: heavy ? 'troupe' : contender,
    transport,
    heavy,
    packed: packed.entry,
    audit: join(packed.folder, 'audit.jsonl'),
  };
  rmSync(job.audit, { force: true });
  // Warnings are counted, not printed: printing thousands of them would be measured too.
  const what = `${contender} over ${transport}`;
  const started = run(process.execPath, ['--no-warnings', CONTENDER, JSON.stringify(job)], {
    timeout: VISIT_MS,
  });
  const { stdout } = await started.catch((error: unknown) => {
    const { killed, stderr } = error as { readonly killed?: boolean; readonly stderr?: string };
    const late = `it did not end within ${VISIT_MS / 1_000} s; is the machine busy?`;
    throw new Error(`${what}: ${killed === true ? late : (stderr ?? '').trim()}`, { cause: error });
  });
  const seen = JSON.parse(stdout) as Visit;
  if (job.module === 'troupe') checkCounters(seen, heavy, what);
  return seen;
}

/** What stands on the path by default, as the engine itself counts it (`inspect().stages`). */
const STAGES = ['deadline', 'audit', 'policy', 'retry', 'pick', 'slot', 'breaker', 'event'];

/** Every call has passed every stage, once; without an audit file there is nothing to put on record. */
function checkCounters({ calls, counters = {} }: Visit, heavy: boolean, what: string): void {
  for (const stage of STAGES)
    if (counters[stage] === undefined) throw new Error(`${what}: nobody has counted the stage ${stage}`);
  for (const [name, count] of Object.entries(counters)) {
    const expected = name === 'audit' && !heavy ? 0 : calls;
    if (!(RIGHT[name]?.(count, calls) ?? count === expected))
      throw new Error(`${what}: ${count} ${name} of ${calls} calls; something did not run, or twice`);
  }
}

const RIGHT: Readonly<Record<string, (count: number, calls: number) => boolean>> = {
  failed: (count) => count === 0,
  unrouted: (count) => count === 0,
  // Asked whether the caller may know the tool, and whether it may call it.
  judged: (count, calls) => count >= calls && count % calls === 0,
  // Two records per call, and some about the connection.
  audited: (count, calls) => count >= 2 * calls,
};
