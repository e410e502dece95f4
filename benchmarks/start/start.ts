import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine, type EngineConfig, type ServerConfig } from '../../lib/index.ts';
import { INITIALIZE, openBare } from '../support/bare-stdio.ts';
import { wireServer, type WireServerSettings } from '../support/programs.ts';
import { machineLoad, median } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import { missedOf, spreadOf, verdict, verdictTable, type Spread, type Verdict } from '../support/verdict.ts';
import { recoverySentence, START_HEAD, startCells } from './cells.ts';

export const START_ROUNDS = 5;
/** 32 starts keep the machine busy for seconds; fewer rounds say enough. */
const ROUNDS_OF_MANY = 3;

/** Eight servers that wait are ready within this of what a bare wire client needs (floor of the project). */
const WAITING_FLOOR = 1.2;
/** One that never answers may make the others this much slower (performance §2, goal 9). */
const HANGING_FLOOR = 1.15;
/** Starting a few at a time costs no more than this in total (performance §2, goal 8) … */
const LIMITED_FLOOR = 1.05;
/**
 * … and the median server is ready in about half of the time, since it waits for half of the others. "Halve" says the
 * issue; performance §2, goal 8, sets 0.6 where 0.53 was measured: room for what such ratios differ by between runs.
 */
const LIMITED_MEDIAN_FLOOR = 0.6;
const MANY = 32;

export interface StartRow {
  readonly what: string;
  readonly rounds: number;
  readonly engineMs: Spread;
  /** Of the median server, from the start to Connected. */
  readonly medianServerMs: Spread;
  readonly againstMs: Spread;
  /** Each round against its own neighbour: the load of a shared machine changes from one to the next. */
  readonly ratio: Spread;
}

/** A row, and how large its ratio may be, where that is a goal. */
interface Judged {
  readonly row: StartRow;
  readonly floor: number | undefined;
}

export interface StartResult {
  readonly rows: readonly StartRow[];
  readonly recovery: { readonly backoffMs: Spread; readonly connectedMs: Spread; readonly callMs: Spread };
  /** Processes that a start of one server takes, by era asked for and era spoken. */
  readonly spawns: Readonly<Record<string, number>>;
  readonly load: ReturnType<typeof machineLoad>;
  readonly goals: readonly Verdict[];
  readonly missed: readonly string[];
}

/** How long until servers are ready: all handshakes done and all tools listed. */
export async function benchStart({
  rounds = START_ROUNDS,
}: { readonly rounds?: number } = {}): Promise<StartResult> {
  const before = machineLoad();
  await engineReady(2, {});
  const judged: Judged[] = [];
  for (const { what, count, settings, floor } of CASES) {
    const engine: number[] = [];
    const servers: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round < (count > 8 ? Math.min(ROUNDS_OF_MANY, rounds) : rounds); round += 1) {
      // Which goes first changes, so that neither always finds the warmer machine.
      if (round % 2 === 0) bare.push(await bareReady(count, settings));
      const ready = await engineReady(count, settings);
      engine.push(ready.allMs);
      servers.push(ready.medianMs);
      if (round % 2 === 1) bare.push(await bareReady(count, settings));
    }
    judged.push({ row: rowOf(what, engine, servers, bare), floor });
  }
  judged.push(await besideHanging(rounds), ...(await limited(Math.min(ROUNDS_OF_MANY, rounds))));
  const spawns = await spawnsPerEra();
  const goals = [
    ...judged.flatMap(({ row, floor }) =>
      floor === undefined ? [] : [verdict(`${row.what}, ratio`, row.ratio, '≤', floor)],
    ),
    ...Object.entries(spawns).map(([what, count]) =>
      verdict(`processes for one server, ${what}`, spreadOf([count]), '≤', 1),
    ),
  ];
  return {
    rows: judged.map(({ row }) => row),
    recovery: await recovery(rounds),
    spawns,
    load: before,
    goals,
    missed: missedOf(goals),
  };
}

const CASES: ReadonlyArray<{
  readonly what: string;
  readonly count: number;
  readonly settings: WireServerSettings;
  readonly floor?: number;
}> = [
  {
    what: '8 servers asleep for 300 ms before they read',
    count: 8,
    settings: { startMs: 300 },
    floor: WAITING_FLOOR,
  },
  {
    what: '8 servers that take 300 ms for `initialize`',
    count: 8,
    settings: { firstMs: 300 },
    floor: WAITING_FLOOR,
  },
  { what: '8 servers that take 300 ms for every answer', count: 8, settings: { eachMs: 300 } },
  { what: 'cold start of 1 server', count: 1, settings: {} },
  { what: 'cold start of 8 servers', count: 8, settings: {} },
  { what: 'cold start of 32 servers', count: 32, settings: {} },
];

function rowOf(what: string, engine: number[], servers: number[], against: number[]): StartRow {
  return {
    what,
    rounds: engine.length,
    engineMs: spreadOf(engine),
    medianServerMs: spreadOf(servers),
    againstMs: spreadOf(against),
    ratio: spreadOf(engine.map((value, i) => value / (against[i] ?? Number.NaN))),
  };
}

async function bareReady(count: number, settings: WireServerSettings): Promise<number> {
  const started = performance.now();
  const clients = Array.from({ length: count }, () => openBare(wireServer(settings)));
  await Promise.all(
    clients.map(async (client) => {
      await client.request('initialize', INITIALIZE);
      await client.request('tools/list');
    }),
  );
  const elapsed = performance.now() - started;
  await Promise.all(clients.map((client) => client.close()));
  return elapsed;
}

function servers(count: number, settings: WireServerSettings): Record<string, ServerConfig> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`s${i}`, wireServer(settings)]));
}

async function engineReady(
  count: number,
  settings: WireServerSettings,
  options: Pick<EngineConfig, 'startConcurrency'> = {},
): Promise<{ allMs: number; medianMs: number }> {
  const engine = createEngine({ ...options, servers: servers(count, settings) });
  const connected: number[] = [];
  const started = performance.now();
  engine.on('connection.changed', ({ to }) => {
    if (to === 'Connected') connected.push(performance.now() - started);
  });
  await engine.start();
  const { items, failures } = await engine.listTools();
  const allMs = performance.now() - started;
  await engine.stop();
  if (items.length !== count)
    throw new Error(`${count - items.length} of ${count} servers are missing: ${JSON.stringify(failures)}`);
  return { allMs, medianMs: median(connected) };
}

/** Seven of eight servers, the eighth good or never answering: from the start until a tool of each of the seven has answered. */
async function besideHanging(rounds: number): Promise<Judged> {
  const alone: number[] = [];
  const beside: number[] = [];
  const used = async (hanging: boolean): Promise<number> => {
    const engine = createEngine({
      servers: { eighth: wireServer({ never: hanging }), ...servers(7, {}) },
    });
    const started = performance.now();
    const all = engine.start().catch(() => {});
    await Promise.all(Array.from({ length: 7 }, (_, i) => engine.callTool(`s${i}__echo`, { message: 'hi' })));
    const elapsed = performance.now() - started;
    await engine.stop({ graceMs: 500 });
    await all;
    return elapsed;
  };
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) alone.push(await used(false));
    beside.push(await used(true));
    if (round % 2 === 1) alone.push(await used(false));
  }
  const what = '7 servers beside one that never answers (against: one that does)';
  return { row: rowOf(what, beside, beside, alone), floor: HANGING_FLOOR };
}

/** A few at a time, as the engine does by itself, against all at once. */
async function limited(rounds: number): Promise<readonly Judged[]> {
  const few: Array<{ allMs: number; medianMs: number }> = [];
  const all: Array<{ allMs: number; medianMs: number }> = [];
  const unlimited = async (): Promise<void> => {
    all.push(await engineReady(MANY, {}, { startConcurrency: MANY }));
  };
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) await unlimited();
    few.push(await engineReady(MANY, {}));
    if (round % 2 === 1) await unlimited();
  }
  const [fewAll, allAll] = [few.map((r) => r.allMs), all.map((r) => r.allMs)];
  const [fewMedian, allMedian] = [few.map((r) => r.medianMs), all.map((r) => r.medianMs)];
  const total = `${MANY} servers, a few at a time (against: all at once)`;
  const middle = `${MANY} servers, a few at a time, the median server (at most ${LIMITED_MEDIAN_FLOOR} of all at once)`;
  return [
    { row: rowOf(total, fewAll, fewMedian, allAll), floor: LIMITED_FLOOR },
    { row: rowOf(middle, fewMedian, fewMedian, allMedian), floor: LIMITED_MEDIAN_FLOOR },
  ];
}

/** How many processes a server is started with, whatever is asked for and whatever it speaks. */
async function spawnsPerEra(): Promise<Readonly<Record<string, number>>> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-start-'));
  const found: Record<string, number> = {};
  try {
    for (const [era, modern] of [
      ['auto', false],
      ['auto', true],
      ['legacy', false],
      ['modern', true],
    ] as const) {
      const what = `era ${era}, a ${modern ? 'modern' : 'legacy'} server`;
      const spawned = join(folder, what);
      const engine = createEngine({ servers: { s0: { ...wireServer({ spawned, modern }), era } } });
      await engine.start();
      await engine.callTool('s0__echo', { message: 'hi' });
      await engine.stop();
      found[what] = readFileSync(spawned, 'utf8').trim().split('\n').length;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return found;
}

/** From a kill -9 to Connected again, and to the answer of a call made right after it. */
async function recovery(rounds: number): Promise<StartResult['recovery']> {
  const connected: number[] = [];
  const answered: number[] = [];
  const waited: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const engine = createEngine({ servers: servers(1, {}) });
    await engine.start();
    await engine.callTool('s0__echo', { message: 'hi' });
    const { pid } = engine.connection('s0').process ?? {};
    if (pid === undefined) throw new Error('the server has no process');
    const again = new Promise<number>((resolve) => {
      engine.on('connection.changed', ({ to, retryInMs }) => {
        if (to === 'Error' && retryInMs !== undefined) waited.push(retryInMs);
        if (to === 'Connected') resolve(performance.now());
      });
    });
    const lost = new Promise<void>((resolve) => {
      engine.on('connection.changed', ({ to }) => to === 'Error' && resolve());
    });
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    await lost;
    await engine.callTool('s0__echo', { message: 'hi' });
    answered.push(performance.now() - killed);
    connected.push((await again) - killed);
    await engine.stop();
  }
  return { backoffMs: spreadOf(waited), connectedMs: spreadOf(connected), callMs: spreadOf(answered) };
}

export function printStart({ rows, recovery, load, goals, missed }: StartResult): string {
  return [
    `start (load ${load.load1} on ${load.cores} cores; medians and the least and most of the rounds)`,
    table([START_HEAD, ...rows.map(startCells)]),
    recoverySentence(recovery),
    '',
    verdictTable(goals),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
