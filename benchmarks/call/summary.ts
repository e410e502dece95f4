import { median } from '../support/statistics.ts';
import { spreadOf, verdict, type Spread, type Verdict } from '../support/verdict.ts';
import type { Contender, Transport, Visits, Window } from './contest.ts';
import { ABOVE_TRANSPORT_US, CALL_GOALS, STALL_MS, STDIO_HEAP_BYTES, type CallGoal } from './goals.ts';

export interface CallRow {
  readonly transport: Transport;
  readonly inFlight: number;
  readonly contender: Contender;
  readonly perSecond: Spread;
  readonly p50Us: Spread;
  readonly p99Us: Spread;
  readonly cpuUs: Spread;
  readonly gcShare: number;
  readonly stallMs: number;
  /** Bytes allocated on the heap per call, at 16 in flight. */
  readonly heapBytes: number;
  /** Calls per second against the official client 2.x, round by round. */
  readonly timesSdk2: Spread | undefined;
  /** Calls that the processor time of one call of the official client 2.x pays for: tells more where others are at work. */
  readonly cpuTimesSdk2: Spread | undefined;
  /** Windows that count, and cores that others used meanwhile (the most). */
  readonly windows: number;
  readonly foreign: number;
  readonly warnings: number;
}

/** Cores that others may use before a window counts only where there is no quieter one. */
const QUIET = 0.25;

export function callRows(visits: Visits): readonly CallRow[] {
  const rows: CallRow[] = [];
  for (const [transport, byContender] of visits) {
    const sizes = new Set(
      [...byContender.values()].flat().flatMap(({ windows }) => windows.map((w) => w.inFlight)),
    );
    for (const inFlight of sizes) {
      for (const [contender, seen] of byContender) {
        const all = windowsOf(visits, transport, contender, inFlight);
        const counted = quietOf(all);
        const spread = (figure: (window: Window) => number): Spread => spreadOf(counted.map(figure));
        rows.push({
          transport,
          inFlight,
          contender,
          perSecond: spread((w) => w.perSecond),
          p50Us: spread((w) => w.p50Us),
          p99Us: spread((w) => w.p99Us),
          cpuUs: spread((w) => w.cpuUs),
          gcShare: median(counted.map((w) => w.gcShare)),
          stallMs: median(counted.map((w) => w.stallMs)),
          heapBytes: median(seen.map((visit) => visit.heapBytes)),
          timesSdk2: ratioOf(visits, transport, inFlight, contender, 'sdk2', 'perSecond'),
          cpuTimesSdk2: ratioOf(visits, transport, inFlight, 'sdk2', contender, 'cpuUs'),
          windows: counted.length,
          foreign: Math.max(...counted.map((w) => w.foreign)),
          warnings: Math.max(
            ...seen.map(({ warnings }) => Object.values(warnings).reduce((a, b) => a + b, 0)),
          ),
        });
      }
    }
  }
  return rows;
}

export function callVerdicts(visits: Visits, rows: readonly CallRow[]): readonly Verdict[] {
  const verdicts: Verdict[] = [];
  for (const goal of CALL_GOALS) {
    const ratio = ratioOf(visits, goal.transport, goal.inFlight, 'troupe', goal.against, goal.figure);
    if (ratio !== undefined) verdicts.push(verdictOf(goal, ratio));
  }
  const find = (transport: Transport, inFlight: number, contender: Contender): CallRow | undefined =>
    rows.find((r) => r.transport === transport && r.inFlight === inFlight && r.contender === contender);
  for (const inFlight of [16, 256]) {
    const [ours, bare] = [find('memory', inFlight, 'troupe'), find('memory', inFlight, 'bare')];
    if (ours === undefined || bare === undefined) continue;
    const above = ours.cpuUs.median - bare.cpuUs.median;
    verdicts.push({
      goal: `CPU above the transport, ${inFlight} in flight: ≤ ${ABOVE_TRANSPORT_US} µs per call`,
      measured: above,
      spread: `${ours.cpuUs.median.toFixed(2)} − ${bare.cpuUs.median.toFixed(2)}`,
      held: above <= ABOVE_TRANSPORT_US,
    });
  }
  const stdio = rows.find((r) => r.transport === 'stdio' && r.contender === 'troupe');
  if (stdio !== undefined)
    verdicts.push({
      goal: `heap allocated by a stdio call: ≤ ${STDIO_HEAP_BYTES / 1_000} kB`,
      measured: stdio.heapBytes / 1_000,
      spread: '',
      held: stdio.heapBytes <= STDIO_HEAP_BYTES,
    });
  const ours = rows.filter((r) => r.contender === 'troupe');
  const worst = Math.max(...ours.map((r) => r.stallMs));
  verdicts.push({
    goal: `event loop at a standstill by own work: ≤ ${STALL_MS} ms`,
    measured: worst,
    spread: ours.map((r) => `${r.transport} ${r.inFlight}: ${r.stallMs.toFixed(0)}`).join(', '),
    held: worst <= STALL_MS,
  });
  return verdicts;
}

function verdictOf(goal: CallGoal, ratio: Spread): Verdict {
  const what = goal.figure === 'perSecond' ? 'calls per second' : 'p50';
  const text = `${goal.transport}, ${goal.inFlight} in flight, ${what}, times ${goal.against}`;
  return goal.atLeast === undefined
    ? verdict(text, ratio, '≤', goal.atMost ?? 0)
    : verdict(text, ratio, '≥', goal.atLeast);
}

function windowsOf(
  visits: Visits,
  transport: Transport,
  contender: Contender,
  inFlight: number,
): readonly Window[] {
  const seen = visits.get(transport)?.get(contender) ?? [];
  return seen.flatMap(({ windows }) => windows.filter((w) => w.inFlight === inFlight));
}

function quietOf(windows: readonly Window[]): readonly Window[] {
  const quiet = windows.filter(({ foreign }) => foreign <= QUIET);
  return quiet.length > 0 ? quiet : windows;
}

/** Round by round, since the machine changes from one to the next; rounds in which both were quiet, if there are any. */
export function ratioOf(
  visits: Visits,
  transport: Transport,
  inFlight: number,
  contender: Contender,
  against: Contender,
  figure: 'perSecond' | 'p50Us' | 'cpuUs',
): Spread | undefined {
  const mine = windowsOf(visits, transport, contender, inFlight);
  const theirs = windowsOf(visits, transport, against, inFlight);
  const pairs = mine.flatMap((window, round) => {
    const other = theirs[round];
    return other === undefined
      ? []
      : [{ ratio: window[figure] / other[figure], quiet: Math.max(window.foreign, other.foreign) <= QUIET }];
  });
  if (pairs.length === 0) return undefined;
  const quiet = pairs.filter((pair) => pair.quiet);
  return spreadOf((quiet.length > 0 ? quiet : pairs).map(({ ratio }) => ratio));
}
