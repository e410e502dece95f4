import type { Outcome } from '../core/outcome.ts';
import { createHistogram } from './histogram.ts';

/** What is counted over the whole engine, beside the outcomes of each connection. */
export type Counter =
  | 'retries'
  | 'hedges'
  | 'cacheHits'
  | 'cacheMisses'
  | 'shared'
  | 'rejected'
  | 'restarts'
  | 'oddities';

const COUNTERS: readonly Counter[] = [
  'retries',
  'hedges',
  'cacheHits',
  'cacheMisses',
  'shared',
  'rejected',
  'restarts',
  'oddities',
];

const OUTCOMES: readonly Outcome[] = [
  'ok',
  'tool-error',
  'app-error',
  'server-error',
  'overload',
  'transport',
  'timeout',
  'refused',
  'cancelled',
];

export interface LatencySnapshot {
  /** Smoothed latency of answers, milliseconds. */
  readonly ewmaMs: number;
  /** Over the last one to two windows; at most 9 % above the true value. `undefined` when nothing was answered lately. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

export interface ConnectionSnapshot {
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly total: number;
  /** `undefined` before the first answer. */
  readonly latency: LatencySnapshot | undefined;
}

/** The numbers of one connection. They belong to the connection, so they outlive its sessions. */
export interface ConnectionMetrics {
  /** One settled attempt. Only answers say something about latency; a time-out or a cancel is only counted. */
  settled(outcome: Outcome, latencyMs: number): void;
  /** Smoothed latency of answers, milliseconds; `undefined` before the first. Free to read. */
  readonly latencyMs: number | undefined;
  snapshot(): ConnectionSnapshot;
}

export interface MetricsSnapshot {
  readonly counters: Readonly<Record<Counter, number>>;
  readonly connections: Readonly<Record<string, ConnectionSnapshot>>;
}

export interface Metrics {
  /** The numbers of this connection, made at the first question. Ask once per connection, not once per request. */
  connection(id: string): ConnectionMetrics;
  /** Forgets a connection that was removed from the configuration. */
  forget(id: string): void;
  count(counter: Counter, by?: number): void;
  snapshot(): MetricsSnapshot;
}

/** Length of one half of the sliding window of the quantiles, milliseconds. */
export const METRICS_WINDOW_MS = 30_000;
/** Weight of the newest sample: the gain of RFC 6298 (smoothed round-trip time). */
const GAIN = 1 / 8;

/** `now`: monotonic milliseconds. A settled attempt costs well below a microsecond and allocates nothing. */
export function createMetrics({ now }: { readonly now: () => number }): Metrics {
  const connections = new Map<string, ConnectionMetrics>();
  const counters = zeros(COUNTERS);
  return {
    connection(id) {
      let metrics = connections.get(id);
      if (metrics === undefined) {
        metrics = createConnectionMetrics(now);
        connections.set(id, metrics);
      }
      return metrics;
    },
    forget(id) {
      connections.delete(id);
    },
    count(counter, by = 1) {
      counters[counter] += by;
    },
    snapshot: () => ({
      counters: { ...counters },
      // No prototype: a server may be called `__proto__`.
      connections: Object.assign(
        Object.create(null) as Record<string, ConnectionSnapshot>,
        Object.fromEntries([...connections].map(([id, metrics]) => [id, metrics.snapshot()])),
      ),
    }),
  };
}

function createConnectionMetrics(now: () => number): ConnectionMetrics {
  const outcomes = zeros(OUTCOMES);
  const histogram = createHistogram(METRICS_WINDOW_MS);
  let ewmaMs: number | undefined;
  return {
    settled(outcome, latencyMs) {
      outcomes[outcome]++;
      if (!isAnswer(outcome) || !(latencyMs >= 0)) return;
      ewmaMs = ewmaMs === undefined ? latencyMs : ewmaMs + GAIN * (latencyMs - ewmaMs);
      histogram.record(latencyMs, now());
    },
    get latencyMs() {
      return ewmaMs;
    },
    snapshot() {
      const at = now();
      return {
        outcomes: { ...outcomes },
        total: OUTCOMES.reduce((sum, outcome) => sum + outcomes[outcome], 0),
        latency:
          ewmaMs === undefined
            ? undefined
            : { ewmaMs, p50Ms: histogram.quantile(0.5, at), p99Ms: histogram.quantile(0.99, at) },
      };
    },
  };
}

function isAnswer(outcome: Outcome): boolean {
  return (
    outcome === 'ok' || outcome === 'tool-error' || outcome === 'app-error' || outcome === 'server-error'
  );
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}
