import { type PickCtx, columnOf, remapped } from '../strategy.ts';

/**
 * Turns by earliest deadline first (Envoy, gRPC A58): the earliest goes, and its next deadline is 1 / weight later.
 * Deadlines start at random, so that engines do not march in step and heavy replicas do not burst.
 */
export interface DeadlineOrder {
  /** Virtual time: the deadline served last. */
  time: number;
  /** NaN: not yet drawn. */
  readonly deadline: Float64Array;
}

export function createDeadlineOrder(n: number): DeadlineOrder {
  return { time: 0, deadline: new Float64Array(n).fill(NaN) };
}

/** `weight` undefined: all alike. */
export function takeTurn(s: DeadlineOrder, ctx: PickCtx, weight: Float64Array | undefined): number {
  const { candidates, rng } = ctx;
  const { deadline, time } = s;
  let earliest = Infinity;
  let best = -1;
  for (let k = 0; k < candidates.length; k++) {
    const i = candidates[k]!;
    let at = deadline[i]!;
    // Behind the virtual time: it was masked (or is new) and gets no credit for the turns it missed, lest it be stormed.
    if (!(at >= time)) {
      at = time + rng() / (weight === undefined ? 1 : weight[i]!);
      deadline[i] = at;
    }
    if (at < earliest) {
      earliest = at;
      best = i;
    }
  }
  if (best < 0) return best;
  s.time = earliest;
  deadline[best] = earliest + 1 / (weight === undefined ? 1 : weight[best]!);
  return best;
}

export function resizeOrder(s: DeadlineOrder, remap: Int32Array): DeadlineOrder {
  return { time: s.time, deadline: remapped(s.deadline, remap, NaN) };
}

export function snapshotOrder(s: DeadlineOrder): unknown {
  return { time: s.time, deadline: Array.from(s.deadline) };
}

export function restoreOrder(json: unknown): DeadlineOrder {
  const { time, deadline } = json as { time: unknown; deadline: unknown };
  if (typeof time !== 'number') throw new TypeError('the snapshot has no virtual time');
  return { time, deadline: columnOf(deadline, NaN) };
}
