import { foldName } from './name-text.ts';

/** Names looked at for one suggestion; keeps a failing lookup below some milliseconds in the largest catalog. */
const MAX_EXAMINED = 20_000;
/** Suggestions are made for names a person or a model could have meant. */
const MAX_LENGTH = 128;
const SUGGESTIONS = 3;

/**
 * At most three names close to `wanted`: few edits away, or one part of the other. Each candidate is the name to
 * suggest and the further names it is known by. Called only after a lookup has failed.
 */
export function nearNames(
  wanted: string,
  candidates: Iterable<{ readonly name: string; readonly alias: string }>,
): readonly string[] {
  if (wanted === '' || wanted.length > MAX_LENGTH) return [];
  const target = foldName(wanted);
  const best: { name: string; distance: number }[] = [];
  let examined = 0;
  for (const { name, alias } of candidates) {
    if ((examined += 1) > MAX_EXAMINED) break;
    const worst = best.length < SUGGESTIONS ? Infinity : (best[SUGGESTIONS - 1]?.distance ?? Infinity);
    const distance = Math.min(
      distanceOf(target, foldName(name)),
      alias.length > MAX_LENGTH ? Infinity : distanceOf(target, foldName(alias)),
    );
    if (distance >= worst) continue;
    const at = best.findIndex((other) => other.distance > distance);
    best.splice(at === -1 ? best.length : at, 0, { name, distance });
    if (best.length > SUGGESTIONS) best.pop();
  }
  return best.map(({ name }) => name);
}

function distanceOf(a: string, b: string): number {
  const allowed = Math.min(3, Math.ceil(Math.min(a.length, b.length) / 4));
  const edits = editDistance(a, b, allowed);
  if (edits <= allowed) return edits;
  // `create_issue` for `github__create_issue`, `read` for `read_file`: behind everything a few edits away.
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return short.length >= 3 && long.includes(short)
    ? allowed + 1 + (long.length - short.length) / 100
    : Infinity;
}

/** Two rows of the table, kept: a failed lookup may compare twenty thousand names. */
const rows: readonly [Uint8Array, Uint8Array] = [
  new Uint8Array(MAX_LENGTH + 2),
  new Uint8Array(MAX_LENGTH + 2),
];

/** Levenshtein, only the band of width `allowed` around the diagonal; `allowed + 1` for everything further away. */
function editDistance(a: string, b: string, allowed: number): number {
  const tooFar = allowed + 1;
  if (Math.abs(a.length - b.length) > allowed || b.length > MAX_LENGTH) return tooFar;
  let [row, next] = rows;
  for (let j = 0; j <= b.length; j += 1) row[j] = Math.min(j, tooFar);
  for (let i = 1; i <= a.length; i += 1) {
    const start = Math.max(1, i - allowed);
    const end = Math.min(b.length, i + allowed);
    const unit = a.charCodeAt(i - 1);
    next[start - 1] = start === 1 ? Math.min(i, tooFar) : tooFar;
    let least = next[start - 1] as number;
    for (let j = start; j <= end; j += 1) {
      const substituted = (row[j - 1] as number) + (unit === b.charCodeAt(j - 1) ? 0 : 1);
      const cost = Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1, tooFar);
      next[j] = cost;
      if (cost < least) least = cost;
    }
    if (least > allowed) return tooFar;
    // The next row looks one further than this one went.
    if (end < b.length) next[end + 1] = tooFar;
    [row, next] = [next, row];
  }
  return row[b.length] as number;
}
