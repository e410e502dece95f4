import { spreadOf, withSpread, type Spread } from '../support/verdict.ts';
import type { Later, PeerFigures, PeerRow } from './peers.ts';

export const PEER_HEAD = [
  'library',
  'version',
  '8 servers ready, ms',
  'processes',
  'calls/s, 16 in flight',
  'CPU µs a call',
  'one of 8 hangs: the others usable after',
  'crash in a call: it ran, failed after',
  'calls after a crash',
  'calls after a kill',
] as const;

const HOST_ONLY = '¹';

export function peerCells(
  { name, version, failed, measured }: PeerRow,
  patienceMs: number,
): readonly string[] {
  if (measured === undefined) return [name, version, `failed: ${failed ?? 'not measured'}`];
  const { startMs, spawns, perSecond, cpuUs, cpuOfHostOnly, crash, kill } = measured;
  return [
    name,
    version,
    withSpread(startMs),
    range(spawns),
    withSpread(perSecond),
    `${withSpread(cpuUs)}${cpuOfHostOnly ? ` ${HOST_ONLY}` : ''}`,
    hangText(measured, patienceMs),
    crashText(crash),
    laterText(crash.map(({ later }) => later)),
    laterText(kill.map(({ later }) => later)),
  ];
}

/** What the table cannot say in its cells. */
export function peerNotes(rows: readonly PeerRow[]): readonly string[] {
  const elsewhere = rows.filter(({ measured }) => measured?.cpuOfHostOnly === true);
  return elsewhere.map(
    ({ name }) =>
      `${HOST_ONLY} ${name}: processor time of the host's side alone; that of the other process is not in it.`,
  );
}

function hangText({ hangMs }: PeerFigures, patienceMs: number): string {
  const never = `not within ${patienceMs / 1_000} s`;
  return byRound(
    hangMs,
    (ms) => (ms === null ? never : 'usable'),
    (group) => {
      const times = group.filter((ms) => ms !== null);
      return times.length === 0 ? never : `${withSpread(spreadOf(times))} ms`;
    },
  );
}

function crashText(crash: PeerFigures['crash']): string {
  const ran = range(spreadOf(crash.map((round) => round.ran)));
  const failed = withSpread(spreadOf(crash.map(({ failedMs }) => failedMs)));
  return `${ran === '1' ? 'once' : `${ran} times`}, ${failed} ms`;
}

function laterText(rounds: readonly Later[]): string {
  const firstToWork = ({ tries }: Later): number => tries.findIndex(({ ok }) => ok);
  const beside = ({ besideOk }: Later): string => (besideOk ? '' : '; the others fail too');
  const told = (round: Later): string => {
    const works = firstToWork(round);
    if (works < 0) return `fail (“${round.tries[0]?.error ?? ''}”)`;
    return `the ${['first', 'second', 'third'][works]} works`;
  };
  return byRound(
    rounds,
    (round) => `${told(round)}${beside(round)}`,
    (group) => {
      const [one] = group as readonly [Later];
      const times = group.flatMap((round) => round.tries[firstToWork(round)]?.ms ?? []);
      const after = times.length === 0 ? '' : `, ${withSpread(spreadOf(times))} ms`;
      return `${told(one)}${after}${beside(one)}`;
    },
  );
}

/** What happened in all rounds once, and what differed with how often it was so. */
function byRound<T>(
  rounds: readonly T[],
  kind: (round: T) => string,
  text: (group: readonly T[]) => string,
): string {
  const groups = new Map<string, T[]>();
  for (const round of rounds) groups.set(kind(round), [...(groups.get(kind(round)) ?? []), round]);
  const often = (group: readonly T[]): string =>
    groups.size === 1 ? '' : ` (${group.length} of ${rounds.length})`;
  return [...groups.values()].map((group) => `${text(group)}${often(group)}`).join('; ');
}

/** Of what is counted: one number where it is always the same. */
function range({ min, max }: Spread): string {
  return min === max ? String(min) : `${min}–${max}`;
}
