/** Buckets per doubling: a quantile is at most 2^(1/8) − 1 = 9 % above the true value. */
const PER_OCTAVE = 8;
/** The first bucket ends at one microsecond … */
const SMALLEST_MS = 0.001;
/** … and the last begins at 2^32 of them, 72 minutes. */
const OCTAVES = 32;
const BUCKETS = OCTAVES * PER_OCTAVE + 1;

export interface Histogram {
  /** Milliseconds; NaN is dropped, what is below or above the range counts at its end. */
  record(ms: number, now: number): void;
  /** The value that a share `q` of the samples does not exceed, milliseconds. `undefined` without samples. */
  quantile(q: number, now: number): number | undefined;
}

/**
 * Latencies of the last one to two windows in logarithmic buckets: 2 KB, no allocation per sample. Two halves take
 * turns, so that what is old is forgotten without a list of samples.
 */
export function createHistogram(windowMs: number): Histogram {
  let current = new Uint32Array(BUCKETS);
  let previous = new Uint32Array(BUCKETS);
  let startedAt: number | undefined;

  function turn(now: number): void {
    startedAt ??= now;
    const windows = Math.floor((now - startedAt) / windowMs);
    if (windows < 1) return;
    startedAt += windows * windowMs;
    [previous, current] = [current, previous];
    current.fill(0);
    if (windows > 1) previous.fill(0);
  }

  return {
    record(ms, now) {
      if (Number.isNaN(ms)) return;
      turn(now);
      const i = bucketOf(ms);
      current[i] = (current[i] ?? 0) + 1;
    },
    quantile(q, now) {
      turn(now);
      let total = 0;
      for (let i = 0; i < BUCKETS; i++) total += (current[i] ?? 0) + (previous[i] ?? 0);
      if (total === 0) return undefined;
      const rank = Math.max(1, Math.ceil(q * total));
      let seen = 0;
      for (let i = 0; i < BUCKETS; i++) {
        seen += (current[i] ?? 0) + (previous[i] ?? 0);
        if (seen >= rank) return upperEdge(i);
      }
      return upperEdge(BUCKETS - 1);
    },
  };
}

function bucketOf(ms: number): number {
  if (ms <= SMALLEST_MS) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log2(ms / SMALLEST_MS) * PER_OCTAVE));
}

function upperEdge(bucket: number): number {
  return SMALLEST_MS * 2 ** (bucket / PER_OCTAVE);
}
