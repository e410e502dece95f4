import { machineLoad } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import { missedOf, verdictTable, type Verdict } from '../support/verdict.ts';
import { callTable } from './columns.ts';
import { contest, CONTENDERS, TRANSPORTS, type ContestSettings, type Transport } from './contest.ts';
import { packAndInstall } from './packed.ts';
import { callRows, callVerdicts, type CallRow } from './summary.ts';

export interface CallSettings {
  /** Default: all three. */
  readonly transports?: readonly Transport[];
  /** Two rounds of short windows at 16 and 256 in flight over stdio and in memory: for who tunes. */
  readonly quick?: boolean;
  readonly rounds?: number;
}

export interface CallResult {
  readonly machine: { readonly cores: number; readonly load1: number; readonly node: string };
  readonly settings: ContestSettings;
  readonly packageBytes: number;
  readonly rows: readonly CallRow[];
  readonly goals: readonly Verdict[];
  readonly missed: readonly string[];
}

/** What one call costs: bare wire, the official clients and the packed engine, each in processes of its own. */
export async function benchCall({
  transports,
  quick = false,
  rounds,
}: CallSettings = {}): Promise<CallResult> {
  const settings: ContestSettings = {
    transports: transports ?? (quick ? ['memory', 'stdio'] : TRANSPORTS),
    contenders: quick ? CONTENDERS.filter((c) => c !== 'troupe-heavy') : CONTENDERS,
    inFlight: quick ? [16, 256] : [1, 16, 256],
    rounds: rounds ?? (quick ? 2 : 5),
    windowMs: quick ? 400 : 700,
    warmMs: 400,
    payloadBytes: 100,
  };
  const machine = { ...machineLoad(), node: process.versions.node };
  const packed = await packAndInstall();
  try {
    const visits = await contest(settings, packed);
    const rows = callRows(visits);
    const goals = callVerdicts(visits, rows);
    return {
      machine,
      settings,
      packageBytes: packed.bytes,
      rows,
      goals,
      missed: [
        ...missedOf(goals),
        ...packed.typeErrors.map((line) => `the package does not type-check: ${line}`),
      ],
    };
  } finally {
    packed.remove();
  }
}

export function printCall({ machine, settings, rows, goals, missed }: CallResult): string {
  const { head, body } = callTable(rows, { tuning: true });
  return [
    `call (${settings.payloadBytes} bytes, ${settings.rounds} rounds of ${settings.windowMs} ms; Node ${machine.node}, ${machine.cores} cores, load ${machine.load1})`,
    table([head, ...body]),
    '',
    verdictTable(goals),
    ...missed.map((line) => `MISSED ${line}`),
  ].join('\n');
}
