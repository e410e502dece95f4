/** How a request ended. */
export const ENDED = { live: 0, ok: 1, late: 2, failed: 3, rejected: 4 } as const;

/** What is counted while a scenario runs. */
export class Record {
  arrivals = 0;
  attempts = 0;
  /** Requests in the system, integrated over time: Little's L. Kept apart from the latencies it is compared with. */
  #area = 0;
  #inSystem = 0;
  #since = 0;
  latency = new Float64Array(4_096);
  wait = new Float64Array(4_096);
  arrivedAt = new Float64Array(4_096);
  /** The integral as it was when the request came. */
  areaAt = new Float64Array(4_096);
  status = new Uint8Array(4_096);

  arrive(now: number): number {
    this.#advance(now);
    this.#inSystem++;
    const id = this.arrivals++;
    if (id === this.latency.length) this.#grow();
    this.arrivedAt[id] = now;
    this.areaAt[id] = this.#area;
    return id;
  }

  end(id: number, now: number, status: number): void {
    this.#advance(now);
    this.#inSystem--;
    this.latency[id] = now - this.arrivedAt[id]!;
    this.status[id] = status;
  }

  get inSystem(): number {
    return this.#inSystem;
  }

  #advance(now: number): void {
    this.#area += this.#inSystem * (now - this.#since);
    this.#since = now;
  }

  #grow(): void {
    const longer = (column: Float64Array): Float64Array<ArrayBuffer> => {
      const next = new Float64Array(2 * column.length);
      next.set(column);
      return next;
    };
    const status = new Uint8Array(2 * this.status.length);
    status.set(this.status);
    this.latency = longer(this.latency);
    this.wait = longer(this.wait);
    this.arrivedAt = longer(this.arrivedAt);
    this.areaAt = longer(this.areaAt);
    this.status = status;
  }
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return values.length === 0 ? NaN : sum / values.length;
}

export function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
}

/** Nearest rank over all samples, no buckets. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]!;
}

/** What a scenario gave. Times in milliseconds of virtual time; latencies are those of successful requests after the warm-up. */
export interface Result {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly meanWait: number;
  readonly p99Wait: number;
  /** Share of the requests that had to wait. */
  readonly waited: number;
  /** Ascending. */
  readonly latencies: Float64Array;
  readonly arrivals: number;
  readonly ok: number;
  readonly late: number;
  readonly failed: number;
  readonly rejected: number;
  readonly live: number;
  /** In time, as a share of all that ended. */
  readonly goodput: number;
  readonly attemptsPerRequest: number;
  /** Slot time of attempts that gave nobody an answer, as a share of `busyMs`. */
  readonly wasted: number;
  readonly hitRate: number;
  /** Busiest server over the mean. */
  readonly imbalance: number;
  /** Slot time of all servers. */
  readonly busyMs: number;
  /** Requests that a crash took, waiting or worked on. */
  readonly lostInCrash: number;
  /** Mean latency of the last quarter of the requests over that of the first: about 1, unless more comes than can be done. */
  readonly drift: number;
  readonly maxQueue: number;
  /** Attempts by server, as a share. */
  readonly shares: readonly number[];
  /** |L − λW| / λW: the time average of requests in the system against arrivals and latencies, after the warm-up. */
  readonly littleError: number;
  /** Arrivals = ended + live. */
  readonly balanced: boolean;
  /** Successful in time by the 5-second bin of arrival, as a share. */
  readonly bins: readonly number[];
  readonly endedAt: number;
  readonly logHash: string;
  readonly logged: number;
}
