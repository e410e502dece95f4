import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packAndInstall, type Packed } from '../call/packed.ts';
import type { Transport } from '../call/contest.ts';
import { machineLoad } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import { spreadOf, withSpread, type Spread } from '../support/verdict.ts';

const run = promisify(execFile);
const PROBE = fileURLToPath(new URL('probe.mjs', import.meta.url));

/** Longest life of one process, milliseconds. */
const VISIT_MS = 60_000;

/** Who can be on top of the stack, in the order of the table. */
const OWNERS = {
  system: 'system calls, native',
  node: 'Node',
  undici: 'undici',
  libraries: 'other libraries',
  troupe: 'mcp-troupe',
  benchmark: 'benchmark',
  collection: 'collection',
} as const;
type Owner = keyof typeof OWNERS;

/** `socket` and `dispatch` are the floors of HTTP: a socket with a hand-written request, and undici's lowest door. */
const CONTENDERS: Readonly<Record<Transport, readonly string[]>> = {
  http: ['socket', 'dispatch', 'bare', 'troupe', 'sdk2'],
  stdio: ['bare', 'troupe', 'sdk2'],
  memory: ['bare', 'troupe', 'sdk2'],
};

interface Seen {
  readonly cpuUs: number;
  readonly byWhom: Readonly<Partial<Record<Owner, number>>>;
}

export interface ProfileRow {
  readonly transport: Transport;
  readonly inFlight: number;
  readonly contender: string;
  /** Of the client's process without the profiler, microseconds a call. */
  readonly cpuUs: Spread;
  /** What `sdk2` takes, divided by what this one takes. */
  readonly timesSdk2: Spread;
  /** Microseconds a call of the profiler's samples, medians. */
  readonly byWhom: Readonly<Record<Owner, number>>;
}

export interface ProfileResult {
  readonly machine: { readonly cores: number; readonly load1: number; readonly node: string };
  readonly rows: readonly ProfileRow[];
  /** Nothing is asked of it: it says why other figures are what they are. */
  readonly missed: readonly string[];
}

/** Where the processor time of a call goes, ours beside the floors and the official client. */
export async function benchProfile({
  rounds = 3,
  transports = ['http', 'stdio', 'memory'],
  quick = false,
}: {
  readonly rounds?: number;
  readonly transports?: readonly Transport[];
  readonly quick?: boolean;
} = {}): Promise<ProfileResult> {
  const machine = { ...machineLoad(), node: process.versions.node };
  const packed = await packAndInstall();
  try {
    const rows: ProfileRow[] = [];
    for (const transport of transports)
      for (const inFlight of [16, 256])
        rows.push(...(await compared(transport, inFlight, rounds, quick, packed)));
    return { machine, rows, missed: [] };
  } finally {
    packed.remove();
  }
}

async function compared(
  transport: Transport,
  inFlight: number,
  rounds: number,
  quick: boolean,
  packed: Packed,
): Promise<readonly ProfileRow[]> {
  const names = CONTENDERS[transport];
  const seen = new Map(names.map((name) => [name, [] as Seen[]]));
  const job = {
    transport,
    inFlight,
    payloadBytes: 100,
    warmMs: quick ? 800 : 2_000,
    windowMs: quick ? 500 : 1_500,
    packed: packed.entry,
  };
  for (let round = 0; round < rounds; round += 1)
    for (let i = 0; i < names.length; i += 1) {
      const module = names[(i + round) % names.length] as string;
      const { stdout } = await run(
        process.execPath,
        ['--no-warnings', PROBE, JSON.stringify({ ...job, module })],
        { timeout: VISIT_MS },
      );
      seen.get(module)?.push(JSON.parse(stdout) as Seen);
    }
  const official = seen.get('sdk2') ?? [];
  return [...seen].map(([contender, found]) => ({
    transport,
    inFlight,
    contender,
    cpuUs: spreadOf(found.map(({ cpuUs }) => cpuUs)),
    timesSdk2: spreadOf(found.map(({ cpuUs }, i) => (official[i]?.cpuUs ?? Number.NaN) / cpuUs)),
    byWhom: Object.fromEntries(
      Object.keys(OWNERS).map((owner) => [
        owner,
        spreadOf(found.map(({ byWhom }) => byWhom[owner as Owner] ?? 0)).median,
      ]),
    ) as Record<Owner, number>,
  }));
}

export const PROFILE_HEAD = [
  'transport',
  'in flight',
  'contender',
  'CPU µs a call',
  'sdk2, times this',
  ...Object.values(OWNERS),
];

export function profileCells({
  transport,
  inFlight,
  contender,
  cpuUs,
  timesSdk2,
  byWhom,
}: ProfileRow): readonly string[] {
  const owners = Object.keys(OWNERS) as readonly Owner[];
  return [
    transport,
    String(inFlight),
    contender,
    withSpread(cpuUs),
    withSpread(timesSdk2),
    ...owners.map((owner) => (byWhom[owner] === 0 ? '' : byWhom[owner].toFixed(1))),
  ];
}

export function printProfile({ machine, rows }: ProfileResult): string {
  return [
    `profile (Node ${machine.node}, ${machine.cores} cores, load ${machine.load1}); processor time first without the profiler, then by who ran`,
    table([PROFILE_HEAD, ...rows.map(profileCells)]),
  ].join('\n');
}
