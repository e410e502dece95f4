import type { ComparedStrategy } from './compare.ts';
import { digits } from './lab.ts';

/** Errors count first: an answer that does not come is not fast. */
const GOOD_ENOUGH = 0.001;
/**
 * Latencies that have grown by more than this from the first quarter of a run to the last: more comes than is done. A queue
 * that only grows from empty gives about 4, one that is stable about 1.
 */
const TOO_MUCH_DRIFT = 3;

const cannotKeepUp = ({ drift }: ComparedStrategy): boolean => drift > TOO_MUCH_DRIFT;
const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;

/** In words: which, by how much, and what speaks against it. */
export function recommend(rows: readonly ComparedStrategy[], hasDeadline: boolean): string {
  const losing = rows.filter(cannotKeepUp);
  const keeping = rows.filter((r) => !cannotKeepUp(r));
  const parts = [
    ...(keeping.length === 0 ? ['The load is more than these servers can do, whoever routes.'] : []),
    ...choice(keeping.length === 0 ? rows : keeping, rows.length, hasDeadline),
    ...losing.map(
      (r) => `${r.name} cannot keep up: its latencies grew ${r.drift.toFixed(1)}-fold during the run.`,
    ),
  ];
  return parts.join(' ');
}

function choice(rows: readonly ComparedStrategy[], all: number, hasDeadline: boolean): string[] {
  const answered = hasDeadline ? 'answered in time' : 'answered';
  const most = Math.max(...rows.map((r) => r.goodput));
  const good = rows.filter((r) => r.goodput >= most - GOOD_ENOUGH).sort((a, b) => a.p99 - b.p99);
  const best = good[0]!;
  const figures = `p99 ${digits(best.p99)} ms, mean ${digits(best.mean)} ms, ${percent(best.goodput)} ${answered}.`;
  if (all === 1) return [`Only ${best.name} was run: ${figures}`];
  const parts = [`Use ${best.name}: ${figures}`];
  const rivals = good
    .slice(1)
    .filter((r) => r.p99 - best.p99 <= 2 * Math.hypot(r.p99Deviation, best.p99Deviation));
  if (rivals.length > 0) {
    parts.push(
      `Within two standard deviations of it, so no worse as far as this run can tell: ${rivals.map((r) => r.name).join(', ')}.`,
    );
  }
  const last = [...rows].sort((a, b) => b.p99 - a.p99)[0]!;
  if (last !== best && !rivals.includes(last))
    parts.push(`${last.name} has a p99 ${(last.p99 / best.p99).toFixed(1)} times as high.`);
  const fewer = rows.filter((r) => r.goodput < most - GOOD_ENOUGH);
  if (fewer.length > 0) {
    parts.push(
      `Passed over because fewer requests were ${answered}: ${fewer.map((r) => `${r.name} (${percent(r.goodput)})`).join(', ')}.`,
    );
  }
  const hits = [...rows].sort((a, b) => b.hitRate - a.hitRate)[0]!;
  if (!Number.isNaN(hits.hitRate) && hits !== best) {
    parts.push(
      `Most cache hits has ${hits.name} (${(hits.hitRate * 100).toFixed(1)} %), if a miss costs others more than it costs the server.`,
    );
  }
  return parts;
}
