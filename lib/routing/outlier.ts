import { type Outcome, isCountable, isFailure } from '../core/outcome.ts';

/** When a replica is taken out of the pool for doing worse than the others (Envoy's outlier detection, limits for small pools). */
export interface OutlierOptions {
  /** Between two looks at the success rates, milliseconds. Default 10 000 (Envoy). */
  readonly intervalMs?: number;
  /** Failures in a row that eject. Default 5 (Envoy). */
  readonly consecutive?: number;
  /** First ejection, milliseconds; the n-th lasts n times as long … Default 30 000 (Envoy). */
  readonly ejectionMs?: number;
  /** … up to this. Default 300 000 (Envoy). */
  readonly ejectionMaxMs?: number;
  /** Share of the pool ejected at most, but always one. Default 0.5: Envoy's 0.1 leaves 33 % errors when 4 of 10 are bad. */
  readonly maxEjected?: number;
  /** Smallest pool in which one is ejected. Default 2. */
  readonly minReplicas?: number;
  /** Success rate: ejected below mean − factor × standard deviation. Default 1.9 (Envoy); finds k of n bad ones while k/n < 0.217. */
  readonly deviations?: number;
  /** Replicas with enough requests the success rate needs. Default 5 (Envoy). */
  readonly rateReplicas?: number;
  /** Requests within an interval a replica needs for either rate rule. Default 20 (Envoy: 100, for web traffic). */
  readonly rateRequests?: number;
  /** Share of failures within an interval that ejects in a pool of any size. Default 0.85 (Envoy). */
  readonly failureShare?: number;
}

const DEFAULT_OUTLIER: Readonly<Required<OutlierOptions>> = {
  intervalMs: 10_000,
  consecutive: 5,
  ejectionMs: 30_000,
  ejectionMaxMs: 300_000,
  maxEjected: 0.5,
  minReplicas: 2,
  deviations: 1.9,
  rateReplicas: 5,
  rateRequests: 20,
  failureShare: 0.85,
};

export type EjectionCause = 'consecutive' | 'success-rate' | 'failure-share';

export interface Ejection {
  readonly id: string;
  readonly cause: EjectionCause;
  /** How long it lasts, milliseconds. */
  readonly forMs: number;
}

interface Record {
  run: number;
  good: number;
  bad: number;
  /** How often it was ejected lately; falls by one with each interval it is in. */
  times: number;
  /** −∞: never. */
  until: number;
}

export interface OutlierDetector {
  /** A request has settled at replica `index`. */
  observe(index: number, outcome: Outcome, now: number): void;
  /** Whether it is out of the pool now: to be treated as suspect. */
  isEjected(index: number, now: number): boolean;
  /** The replicas have changed; survivors keep their record. */
  resize(ids: readonly string[]): void;
}

/**
 * Ejects replicas by their own record: so many failures in a row, or a failure rate out of line. It has no timer: the rates
 * are looked at with the first outcome after an interval, and an ejection is over when its time is.
 */
export function createOutlierDetector(
  ids: readonly string[],
  options: OutlierOptions = {},
  onEject: (ejection: Ejection) => void = () => {},
): OutlierDetector {
  const o = { ...DEFAULT_OUTLIER, ...definedOnly(options) };
  let names = ids;
  let records = ids.map(newRecord);
  let lookedAt: number | undefined;

  const isOut = (record: Record, now: number): boolean => now < record.until;

  const eject = (index: number, cause: EjectionCause, now: number): void => {
    const record = records[index]!;
    record.run = 0;
    if (isOut(record, now) || records.length < o.minReplicas) return;
    const most = Math.max(1, Math.floor(records.length * o.maxEjected));
    if (records.filter((r) => isOut(r, now)).length >= most) return;
    record.times++;
    const forMs = Math.min(o.ejectionMs * record.times, Math.max(o.ejectionMaxMs, o.ejectionMs));
    record.until = now + forMs;
    onEject({ id: names[index]!, cause, forMs });
  };

  const lookAtRates = (before: number, now: number): void => {
    const heard = records
      .map((record, index) => ({ index, rate: record.good / (record.good + record.bad), record }))
      .filter(({ record }) => record.good + record.bad >= o.rateRequests && !isOut(record, now));
    const floor =
      heard.length >= o.rateReplicas
        ? lowestRate(
            heard.map((h) => h.rate),
            o.deviations,
          )
        : -1;
    for (const { index, rate } of heard) {
      if (rate < floor) eject(index, 'success-rate', now);
      else if (1 - rate >= o.failureShare) eject(index, 'failure-share', now);
    }
    for (const record of records) {
      record.good = 0;
      record.bad = 0;
      // Whole intervals back in the pool; the time of the ejection itself forgives nothing.
      const back = Math.floor((now - Math.max(before, record.until)) / o.intervalMs);
      if (back > 0) record.times = Math.max(0, record.times - back);
    }
  };

  return {
    observe(index, outcome, now) {
      const record = records[index];
      if (record === undefined || !isCountable(outcome)) return;
      lookedAt ??= now;
      if (now - lookedAt >= o.intervalMs) {
        lookAtRates(lookedAt, now);
        lookedAt = now;
      }
      if (!isFailure(outcome)) {
        record.good++;
        record.run = 0;
        return;
      }
      record.bad++;
      if (++record.run >= o.consecutive) eject(index, 'consecutive', now);
    },
    isEjected(index, now) {
      const record = records[index];
      return record !== undefined && isOut(record, now);
    },
    resize(next) {
      const kept = new Map(names.map((id, index) => [id, records[index]!]));
      names = next;
      records = next.map((id) => kept.get(id) ?? newRecord());
    },
  };
}

/** Below it a success rate is out of line: mean − deviations × standard deviation. */
export function lowestRate(rates: readonly number[], deviations: number): number {
  const mean = rates.reduce((sum, r) => sum + r, 0) / rates.length;
  const variance = rates.reduce((sum, r) => sum + (r - mean) ** 2, 0) / rates.length;
  return mean - deviations * Math.sqrt(variance);
}

function newRecord(): Record {
  return { run: 0, good: 0, bad: 0, times: 0, until: -Infinity };
}

function definedOnly(options: OutlierOptions): OutlierOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
