import type { Random } from '../core/ports.ts';

export interface BackoffOptions {
  /** First delay, milliseconds. */
  readonly baseMs: number;
  readonly factor: number;
  readonly capMs: number;
  /** Relative spread: 0.2 means ±20 %. */
  readonly jitter: number;
}

/** Delay before restart number `restart` (from 1): `base × factor^(restart−1)`, capped, spread by the jitter. */
export function backoff(restart: number, options: BackoffOptions, random: Random): number {
  const { baseMs, factor, capMs } = options;
  return spread(Math.min(capMs, baseMs * factor ** Math.max(0, restart - 1)), options, random);
}

/** The slowest pace: the cap, spread by the jitter. */
export function slowest(options: BackoffOptions, random: Random): number {
  return spread(options.capMs, options, random);
}

function spread(ms: number, { jitter }: BackoffOptions, random: Random): number {
  return Math.round(ms * (1 + jitter * (2 * random() - 1)));
}
