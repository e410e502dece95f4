import { type CompareOptions, type Comparison, compare } from './compare.ts';
import type { Arrival } from './scenario.ts';
import { UsageError } from './usage-error.ts';

export interface ReplayOptions {
  /** Ascending in time. */
  readonly trace: readonly Arrival[];
  readonly replicas: number;
  readonly strategies: CompareOptions['strategies'];
}

/** A recorded trace through each strategy: what would have happened. Throws `UsageError` for an unsorted trace. */
export function replay({ trace, replicas, strategies }: ReplayOptions): Comparison {
  for (let i = 1; i < trace.length; i++) {
    if (trace[i]!.at < trace[i - 1]!.at) {
      throw new UsageError(
        `the trace is not sorted by "at": entry ${i + 1} (${trace[i]!.at}) after ${trace[i - 1]!.at}`,
      );
    }
  }
  return compare({
    workload: {
      about: `${trace.length} recorded requests`,
      of: (n) => ({ servers: Array.from({ length: n }, () => ({})), trace, warmUp: 0 }),
    },
    replicas,
    strategies,
  });
}
