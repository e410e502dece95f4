import type { Clock } from '../core/clock.ts';

/** A quantile of recent latencies, computed now and then, read for nothing. */
export interface LatencyQuantile {
  /** Milliseconds; `undefined` before `minSamples` were seen. */
  readonly value: number | undefined;
  add(latencyMs: number): void;
}

export interface LatencyQuantileOptions {
  readonly clock: Clock;
  /** 0 … 1. */
  readonly quantile: number;
  readonly minSamples: number;
}

/** Samples looked at; at p95 the twelve slowest decide. */
const SAMPLES = 256;
/** How old the computed value may be, milliseconds (Finagle's backup request filter: 3 s). */
const REFRESH_MS = 3_000;

/** The exact quantile (nearest rank) of the last 256 samples. */
export function createLatencyQuantile({
  clock,
  quantile,
  minSamples,
}: LatencyQuantileOptions): LatencyQuantile {
  const ring = new Float64Array(SAMPLES);
  const needed = Math.max(1, Math.min(minSamples, SAMPLES));
  let seen = 0;
  let computed: number | undefined;
  let computedAt = -Infinity;

  const compute = (): number | undefined => {
    const count = Math.min(seen, SAMPLES);
    if (count < needed) return undefined;
    const sorted = ring.slice(0, count).sort();
    return sorted[Math.max(0, Math.ceil(quantile * count) - 1)];
  };

  return {
    get value() {
      if (seen < needed) return undefined;
      const now = clock.now();
      if (computed === undefined || now - computedAt >= REFRESH_MS) {
        computed = compute();
        computedAt = now;
      }
      return computed;
    },
    add(latencyMs) {
      ring[seen % SAMPLES] = latencyMs;
      seen++;
    },
  };
}
