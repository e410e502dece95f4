import { type CompareOptions, type Comparison, compare } from './compare.ts';
import type { Arrival } from './scenario.ts';
import { UsageError } from './usage-error.ts';

export interface ReplayOptions {
  /** Ascending in time. */
  readonly trace: readonly Arrival[];
  readonly replicas: number;
  readonly strategies: CompareOptions['strategies'];
  /**
   * Requests a replica works on at the same time. A trace does not say, and everything depends on it: with too few, requests
   * seem to wait that never did; with too many, none ever waits and all strategies look alike.
   */
  readonly slots: number;
  /** Work done per millisecond, one number a replica. Default 1 each: as fast as what was recorded. */
  readonly speeds?: readonly number[] | undefined;
}

/** A recorded trace through each strategy: what would have happened. Throws `UsageError` for what makes no sense. */
export function replay({ trace, replicas, strategies, slots, speeds }: ReplayOptions): Comparison {
  checkTrace(trace);
  if (!Number.isInteger(slots) || slots < 1) throw new UsageError(slotsMissing(slots));
  if (speeds !== undefined) checkSpeeds(speeds, replicas);
  return compare({
    workload: {
      about: `${trace.length} recorded requests, ${slots} ${slots === 1 ? 'slot' : 'slots'} a replica`,
      of: (n) => ({
        servers: Array.from({ length: n }, (_, i) => ({ slots, speed: speeds?.[i] ?? 1 })),
        trace,
        warmUp: 0,
      }),
    },
    replicas,
    strategies,
  });
}

function slotsMissing(slots: number | undefined): string {
  const why = 'how many requests a replica works on at the same time, which a trace does not say';
  return slots === undefined
    ? `--slots is missing: ${why}`
    : `--slots must be a whole number of at least 1 (${why}), not ${slots}`;
}

function checkSpeeds(speeds: readonly number[], replicas: number): void {
  if (speeds.length !== replicas) {
    throw new UsageError(
      `--speeds has ${speeds.length} numbers for ${replicas} replicas; give one for each, 1 as fast as recorded`,
    );
  }
  const odd = speeds.find((speed) => !Number.isFinite(speed) || speed <= 0);
  if (odd !== undefined) throw new UsageError(`--speeds must be numbers above 0, not ${odd}`);
}

function checkTrace(trace: readonly Arrival[]): void {
  if (trace.length === 0) throw new UsageError('the trace has no requests');
  for (const [i, { at, size }] of trace.entries()) {
    if (!Number.isFinite(at) || !Number.isFinite(size) || at < 0 || size < 0) {
      throw new UsageError(
        `the trace, entry ${i + 1}: "at" and "size" must be milliseconds, not negative (at ${at}, size ${size})`,
      );
    }
    const before = trace[i - 1]?.at ?? 0;
    if (at < before) {
      throw new UsageError(`the trace is not sorted by "at": entry ${i + 1} (${at}) after ${before}`);
    }
  }
}
