import { figure, thousands, withSpread } from '../support/verdict.ts';
import type { CallRow } from './summary.ts';

interface Column {
  readonly head: string;
  readonly cell: (row: CallRow) => string;
  /** For who tunes, at the terminal; not in the report. */
  readonly tuning?: true;
}

/** The table of the call benchmark, at the terminal and in the report. */
const COLUMNS: readonly Column[] = [
  { head: 'transport', cell: ({ transport }) => transport },
  { head: 'in flight', cell: ({ inFlight }) => String(inFlight) },
  { head: 'contender', cell: ({ contender }) => contender },
  { head: 'calls/s', cell: ({ perSecond }) => withSpread(perSecond, thousands) },
  { head: '× sdk2', cell: ({ timesSdk2 }) => (timesSdk2 === undefined ? '' : withSpread(timesSdk2)) },
  { head: 'p50 µs', cell: ({ p50Us }) => figure(p50Us.median) },
  { head: 'p99 µs', cell: ({ p99Us }) => figure(p99Us.median) },
  { head: 'CPU µs a call', cell: ({ cpuUs }) => withSpread(cpuUs) },
  {
    head: 'CPU × sdk2',
    cell: ({ cpuTimesSdk2 }) => (cpuTimesSdk2 === undefined ? '' : figure(cpuTimesSdk2.median)),
    tuning: true,
  },
  { head: 'heap B a call', cell: ({ heapBytes }) => thousands(heapBytes) },
  { head: 'GC', cell: ({ gcShare }) => `${(gcShare * 100).toFixed(0)} %` },
  { head: 'standstill ms', cell: ({ stallMs }) => stallMs.toFixed(0) },
  { head: 'warnings', cell: ({ warnings }) => String(warnings) },
  { head: 'windows (foreign cores)', cell: ({ windows, foreign }) => `${windows} (${foreign.toFixed(2)})` },
];

export interface CallTable {
  readonly head: readonly string[];
  readonly body: readonly (readonly string[])[];
}

export function callTable(rows: readonly CallRow[], { tuning }: { readonly tuning: boolean }): CallTable {
  const columns = COLUMNS.filter((column) => tuning || column.tuning === undefined);
  return {
    head: columns.map(({ head }) => head),
    body: rows.map((row) => columns.map(({ cell }) => cell(row))),
  };
}
