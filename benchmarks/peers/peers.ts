import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packAndInstall } from '../call/packed.ts';
import { machineLoad } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import { spreadOf, type Spread } from '../support/verdict.ts';
import { PEER_HEAD, peerCells, peerNotes } from './cells.ts';

const run = promisify(execFile);
const HERE = fileURLToPath(new URL('.', import.meta.url));
const PROBE = join(HERE, 'probe.mjs');
/** How long a situation is waited for before it counts as never, milliseconds. */
const PATIENCE_MS = 15_000;
/** Some of them need it. */
const LEAST_NODE = 22;

/** `hang` alone takes three of them all of the patience: on a quiet machine all of it is about eight minutes. */
export const PEERS_ROUNDS = 3;

/** What each is put into, in this order. */
const SITUATIONS = ['start', 'calls', 'hang', 'crash', 'kill'] as const;
/** The work is done in another process, whose processor time is not seen here. */
const ELSEWHERE: ReadonlySet<string> = new Set(['mcp-hub (a process, over REST)']);

/** By its name, and the package whose version is told. */
const PEERS: ReadonlyArray<readonly [name: string, folder: string]> = [
  ['mcp-troupe', '../..'],
  ['official client 2.x', 'node_modules/@modelcontextprotocol/client'],
  ['@langchain/mcp-adapters', 'node_modules/@langchain/mcp-adapters'],
  ['@ai-sdk/mcp', 'node_modules/@ai-sdk/mcp'],
  ['@mastra/mcp', 'node_modules/@mastra/mcp'],
  ['mcp-use', 'node_modules/mcp-use'],
  ['mcp-hub (a process, over REST)', 'node_modules/mcp-hub'],
];

/** After a fault. */
export interface Later {
  readonly tries: ReadonlyArray<{ readonly ok: boolean; readonly ms: number; readonly error?: string }>;
  readonly besideOk: boolean;
}

/** Of one process, each. */
interface Situations {
  readonly start: { readonly ms: number; readonly spawns: number };
  readonly calls: { readonly perSecond: number; readonly cpuUs: number };
  readonly hang: { readonly ms: number | null };
  readonly crash: {
    readonly failedMs: number;
    readonly error: string;
    readonly ran: number;
    readonly later: Later;
  };
  readonly kill: { readonly later: Later };
}

export interface PeerRow {
  readonly name: string;
  readonly version: string;
  /** Why there are no numbers. */
  readonly failed?: string;
  readonly measured?: PeerFigures;
}

export interface PeerFigures {
  readonly startMs: Spread;
  readonly spawns: Spread;
  readonly perSecond: Spread;
  /** Of the host's process … */
  readonly cpuUs: Spread;
  /** … where that is not all: a hub's own processor time is not in it. */
  readonly cpuOfHostOnly: boolean;
  /** By round, until the seven good servers beside one that hangs have answered; null: not within the patience. */
  readonly hangMs: readonly (number | null)[];
  readonly crash: readonly Situations['crash'][];
  readonly kill: readonly Situations['kill'][];
}

export interface PeersResult {
  /** `node`: what the libraries and their servers ran on. */
  readonly machine: { readonly cores: number; readonly load1: number; readonly node: string };
  readonly patienceMs: number;
  readonly rounds: number;
  readonly rows: readonly PeerRow[];
  /** Nothing is asked of the figures; only that there are some. */
  readonly missed: readonly string[];
}

/** The libraries that do something alike, each as its users call it, in the same run. */
export async function benchPeers({
  rounds = PEERS_ROUNDS,
}: { readonly rounds?: number } = {}): Promise<PeersResult> {
  const node = nodeOf();
  const { stdout } = await run(node, ['-p', 'process.versions.node']);
  const machine = { ...machineLoad(), node: stdout.trim() };
  const packed = await packAndInstall();
  const scratch = mkdtempSync(join(tmpdir(), 'troupe-peers-'));
  try {
    const found = new Map(PEERS.map(([name]) => [name, [] as Array<Partial<Situations>>]));
    const failed = new Map<string, string>();
    const one = async (name: string, situation: keyof Situations): Promise<void> => {
      if (failed.has(name)) return;
      try {
        const answer = await probe(node, name, situation, packed.entry, scratch);
        found.get(name)?.push({ [situation]: answer });
      } catch (error) {
        failed.set(name, `${situation}: ${reasonOf(error)}`);
      }
    };
    for (let round = 0; round < rounds; round += 1)
      for (const situation of SITUATIONS)
        for (let i = 0; i < PEERS.length; i += 1)
          await one(PEERS[(i + round) % PEERS.length]?.[0] ?? '', situation);
    const rows = PEERS.map(([name, folder]) => rowOf(name, folder, found.get(name) ?? [], failed.get(name)));
    const measured = rows.filter((row) => row.failed === undefined && row.name !== 'mcp-troupe').length;
    return {
      machine,
      patienceMs: PATIENCE_MS,
      rounds,
      rows,
      missed: measured < 4 ? [`${measured} peers have numbers; at least four are needed`] : [],
    };
  } finally {
    packed.remove();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** This Node where it is new enough, else the one that the sub-package brings. */
function nodeOf(): string {
  if (Number.parseInt(process.versions.node, 10) >= LEAST_NODE) return process.execPath;
  const own = join(HERE, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(own)) return own;
  throw new Error('the peers are not installed: npm ci --prefix benchmarks/peers');
}

async function probe(
  node: string,
  contender: string,
  situation: keyof Situations,
  packed: string,
  parent: string,
): Promise<unknown> {
  const scratch = join(parent, `${situation}-${Math.random().toString(36).slice(2)}`);
  mkdirSync(scratch);
  const job = { contender, situation, scratch, packed, patienceMs: PATIENCE_MS };
  const { stdout } = await run(node, ['--no-warnings', PROBE, JSON.stringify(job)], {
    timeout: 3 * PATIENCE_MS + 60_000,
    maxBuffer: 64 << 20,
  });
  // Some of them write on stdout as well.
  const line = stdout.split('\n').find((text) => text.startsWith('@@'));
  if (line === undefined) throw new Error('it ended without a result');
  return JSON.parse(line.slice(2));
}

function reasonOf(error: unknown): string {
  const { stderr = '', message } = error as { readonly stderr?: string; readonly message: string };
  const told = stderr.split('\n').find((line) => /Error/.test(line));
  return (told ?? message).split('\n', 1)[0]?.replaceAll(/(?:file:\/\/)?\/\S*\//g, '') ?? '';
}

function rowOf(
  name: string,
  folder: string,
  found: ReadonlyArray<Partial<Situations>>,
  failed: string | undefined,
): PeerRow {
  const all = <K extends keyof Situations>(situation: K): ReadonlyArray<Situations[K]> =>
    found.flatMap((answer) => (answer[situation] === undefined ? [] : [answer[situation]]));
  const version = versionOf(folder);
  if (failed !== undefined) return { name, version, failed };
  const measured: PeerFigures = {
    startMs: spreadOf(all('start').map(({ ms }) => ms)),
    spawns: spreadOf(all('start').map(({ spawns }) => spawns)),
    perSecond: spreadOf(all('calls').map(({ perSecond }) => perSecond)),
    cpuUs: spreadOf(all('calls').map(({ cpuUs }) => cpuUs)),
    cpuOfHostOnly: ELSEWHERE.has(name),
    hangMs: all('hang').map(({ ms }) => ms),
    crash: all('crash'),
    kill: all('kill'),
  };
  return { name, version, measured };
}

function versionOf(folder: string): string {
  try {
    const text = readFileSync(join(HERE, folder, 'package.json'), 'utf8');
    return (JSON.parse(text) as { readonly version: string }).version;
  } catch {
    return 'not installed';
  }
}

export function printPeers({ machine, rounds, rows, patienceMs, missed }: PeersResult): string {
  return [
    `peers (Node ${machine.node}, ${machine.cores} cores, load ${machine.load1}; eight stdio servers, ${rounds} rounds)`,
    table([PEER_HEAD, ...rows.map((row) => peerCells(row, patienceMs))]),
    ...peerNotes(rows),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
