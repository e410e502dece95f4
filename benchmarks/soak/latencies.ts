/** Buckets grow by this: a quantile is at most 2 % above the true value. */
const STEP = 1.02;
const SMALLEST_MS = 0.01;
const BUCKETS = 1_000;

export interface Latencies {
  record(ms: number): void;
  /** The value that a share `q` of the samples does not exceed, milliseconds; NaN of none. */
  quantile(q: number): number;
  readonly count: number;
}

/** Latencies in logarithmic buckets, so that an hour of them takes no more room than a second. */
export function createLatencies(): Latencies {
  const buckets = new Uint32Array(BUCKETS);
  let count = 0;
  return {
    get count() {
      return count;
    },
    record(ms) {
      const bucket = Math.ceil(Math.log(Math.max(ms, SMALLEST_MS) / SMALLEST_MS) / Math.log(STEP));
      const at = Math.min(BUCKETS - 1, bucket);
      buckets[at] = (buckets[at] ?? 0) + 1;
      count += 1;
    },
    quantile(q) {
      let left = Math.max(1, Math.ceil(q * count));
      for (const [i, n] of buckets.entries()) {
        left -= n;
        if (left <= 0) return SMALLEST_MS * STEP ** i;
      }
      return Number.NaN;
    },
  };
}
