import type { Transport } from './contest.ts';

/** A goal as a ratio of medians: at least or at most so many times what another contender does. */
export interface CallGoal {
  readonly transport: Transport;
  readonly inFlight: number;
  readonly figure: 'perSecond' | 'p50Us';
  readonly against: 'bare' | 'sdk2';
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** `fetch` of Node 24 is faster, so that a lead over it is about two thirds of what it is on Node 20. */
const FETCH_SHARE = Number.parseInt(process.versions.node, 10) >= 24 ? 2 / 3 : 1;

export const CALL_GOALS: readonly CallGoal[] = [
  { transport: 'stdio', inFlight: 256, figure: 'perSecond', against: 'sdk2', atLeast: 3.5 },
  { transport: 'stdio', inFlight: 256, figure: 'perSecond', against: 'bare', atLeast: 0.7 },
  { transport: 'stdio', inFlight: 16, figure: 'perSecond', against: 'sdk2', atLeast: 2.2 },
  { transport: 'stdio', inFlight: 1, figure: 'p50Us', against: 'bare', atMost: 1.25 },
  { transport: 'http', inFlight: 256, figure: 'perSecond', against: 'sdk2', atLeast: 15 * FETCH_SHARE },
  { transport: 'http', inFlight: 256, figure: 'perSecond', against: 'bare', atLeast: 0.8 },
  { transport: 'http', inFlight: 16, figure: 'perSecond', against: 'sdk2', atLeast: 15 * FETCH_SHARE },
  { transport: 'http', inFlight: 1, figure: 'p50Us', against: 'sdk2', atMost: 0.3 },
  { transport: 'memory', inFlight: 256, figure: 'perSecond', against: 'sdk2', atLeast: 7 },
  { transport: 'memory', inFlight: 16, figure: 'perSecond', against: 'sdk2', atLeast: 7 },
  { transport: 'memory', inFlight: 1, figure: 'p50Us', against: 'sdk2', atMost: 0.5 },
];

/** CPU of everything above the transport: what the engine uses beyond the bare wire in memory, microseconds per call. */
export const ABOVE_TRANSPORT_US = 2;
/** Heap allocated by one call over stdio, bytes. */
export const STDIO_HEAP_BYTES = 6_000;
/** The event loop stands still for no longer than this by the engine's own doing, milliseconds. */
export const STALL_MS = 20;
