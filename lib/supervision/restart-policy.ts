import { backoff, slowest, type BackoffOptions } from '../connection/backoff.ts';
import type { RestartVerdict } from '../connection/connection.machine.ts';
import type { ErrorCode, TroupeError } from '../core/errors.ts';
import type { Random } from '../core/ports.ts';

export interface RestartPolicyOptions extends BackoffOptions {
  /** More failures than this within `periodMs` park the connection (Erlang/OTP calls the pair restart intensity). */
  readonly intensity: number;
  readonly periodMs: number;
}

/** What a restart is judged by; owned by one connection. */
export interface RestartHistory {
  /** When the recent failures happened, on the monotonic clock. */
  readonly failures: readonly number[];
  /** Failures since a session last stood for as long as `periodMs`. */
  readonly streak: number;
  /** When a session last came to stand. */
  readonly connectedAt: number | undefined;
}

export const NO_HISTORY: RestartHistory = { failures: [], streak: 0, connectedAt: undefined };

/** Nothing that time could heal: another try by itself would be noise. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set(['config_invalid', 'unsupported', 'stopped']);

/**
 * Judges one failure: the delay until the next attempt, and whether the connection is parked, that is tried at the
 * slowest pace only. Pure: the new history comes back beside the verdict.
 */
export function restartPolicy(
  error: TroupeError,
  history: RestartHistory,
  now: number,
  options: RestartPolicyOptions,
  random: Random,
): { readonly verdict: RestartVerdict; readonly history: RestartHistory } {
  const stable = history.connectedAt !== undefined && now - history.connectedAt >= options.periodMs;
  const streak = (stable ? 0 : history.streak) + 1;
  const failures = [...history.failures.filter((at) => now - at < options.periodMs), now];
  const next: RestartHistory = { failures, streak, connectedAt: undefined };
  if (HOPELESS.has(error.code)) return { verdict: { delayMs: undefined, parked: true }, history: next };
  const parked = failures.length > options.intensity;
  const planned = parked ? slowest(options, random) : backoff(streak, options, random);
  return { verdict: { delayMs: Math.max(planned, error.retryAfterMs ?? 0), parked }, history: next };
}

/** A session stands. Whether it is stable shows only later, so the streak is kept for now. */
export function noteConnected(history: RestartHistory, now: number): RestartHistory {
  return { ...history, connectedAt: now };
}
