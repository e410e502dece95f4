import type { Interceptor } from '../../lib/core/interceptor.ts';
import type { Random } from '../../lib/core/ports.ts';
import type { BreakerOptions } from '../../lib/resilience/circuit-breaker.ts';
import type { RetryPolicy } from '../../lib/resilience/retry.ts';
import type { OutlierOptions } from '../../lib/routing/outlier.ts';
import type { LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import type { Kernel } from './kernel.ts';
import type { ServerSpec } from './server-model.ts';
import type { Gaps, Size } from './sizes.ts';

/** Makes the strategy of one client. `reporter` answers probes, for strategies that want them. */
export type StrategyMaker = (reporter: LoadReporter) => RoutingStrategy;

/** What limits extra attempts. `createRetryBudget` makes the shipped one. */
export interface Budget {
  deposit(): void;
  withdraw(): boolean;
  /** An attempt has settled, for budgets that look at outcomes or at what is in flight. */
  settled?(ok: boolean, extra: boolean): void;
}

export interface Arrival {
  /** Milliseconds from the start. */
  readonly at: number;
  /** Milliseconds of work. */
  readonly size: number;
  readonly key?: number | undefined;
}

/** Everything a run depends on, beside its seed. */
export interface Scenario {
  readonly servers: readonly ServerSpec[];
  readonly strategy: StrategyMaker;
  /** Engines, each with its own counts; requests are spread over them at random. Default 1. */
  readonly clients?: number;
  readonly size?: Size;
  /** Open loop: requests come whether others have been answered or not. */
  readonly gaps?: Gaps;
  /** Closed loop instead: so many users who think between their requests. */
  readonly closed?: { readonly users: number; readonly thinkMs: number };
  /** Given times and sizes instead. */
  readonly trace?: readonly Arrival[];
  /** Routing key, a small whole number, of each request. */
  readonly keys?: (random: Random) => number;
  /** Ends after so many arrivals … */
  readonly requests?: number;
  /** … or after this time, whichever is first; what has arrived is then finished. */
  readonly untilMs?: number;
  /** Answers after this are late. Default never. */
  readonly deadlineMs?: number;
  /** An attempt is given up after this; the server does not hear of it. Default never. */
  readonly attemptTimeoutMs?: number;
  readonly retry?: RetryPolicy & {
    /** What the application may repeat: `unsafe` only what never reached a server, `read` everything. */
    readonly operation: 'unsafe' | 'read';
    readonly budget?: (kernel: Kernel) => Budget;
  };
  /** A second attempt after a fixed delay, never cancelled. The shipped hedge is an interceptor of `layers`. */
  readonly hedge?: { readonly delayMs: number; readonly budget?: (kernel: Kernel) => Budget };
  /** One shipped breaker per client and server. Needs `simulateInTurns`. */
  readonly breaker?: BreakerOptions;
  readonly outlier?: OutlierOptions;
  /** Shipped interceptors around the shipped pool of replicas. Needs `simulateInTurns`. */
  readonly layers?: (kernel: Kernel) => readonly Interceptor[];
  /** Share of the requests left out of the latencies. Default 0.1. */
  readonly warmUp?: number;
  /** Time a load probe takes, milliseconds. Default 1. */
  readonly probeMs?: number;
}
