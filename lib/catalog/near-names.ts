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

/** Levenshtein, only the band of width `allowed` around the diagonal; `allowed + 1` for everything further away. */
function editDistance(a: string, b: string, allowed: number): number {
  const tooFar = allowed + 1;
  if (Math.abs(a.length - b.length) > allowed) return tooFar;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = Array.from({ length: b.length + 1 }, () => tooFar);
    next[0] = i;
    let least = i;
    const end = Math.min(b.length, i + allowed);
    for (let j = Math.max(1, i - allowed); j <= end; j += 1) {
      const substituted = (row[j - 1] ?? tooFar) + (a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1);
      const cost = Math.min(substituted, (row[j] ?? tooFar) + 1, (next[j - 1] ?? tooFar) + 1);
      next[j] = cost;
      least = Math.min(least, cost);
    }
    if (least > allowed) return tooFar;
    row = next;
  }
  return row[b.length] ?? tooFar;
}
