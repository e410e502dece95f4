import type { Random } from '../../core/ports.ts';

/** Unless the server asks for another one, milliseconds (as in the official SDK). */
const DEFAULT_RETRY_MS = 1_000;
/** What a server may ask for is kept within these (reliability §3, row 23). */
const MIN_RETRY_MS = 100;
const MAX_RETRY_MS = 60_000;
/** So many reconnects in a row come after the time the server asked for; the next ones ever later, at most one a second. */
const PROMPT_RETRIES = 3;
const JITTER = 0.2;

/** The first count of failures that waits a second. */
export const ONE_A_SECOND = PROMPT_RETRIES + 1;

/** Openings that may fail in a row before a response stream is given up, as in the official SDK: its server is gone. */
export const MAX_FAILED_OPENINGS = 2;

/**
 * Milliseconds until the next reconnect of an event stream. `failures` counts those in a row before it that brought
 * nothing, a stream that opened and closed at once included: a server that asks for `retry: 0` must not make us spin.
 */
export function reconnectDelay(failures: number, retryMs: number | undefined, random: Random): number {
  const asked = Math.min(Math.max(retryMs ?? DEFAULT_RETRY_MS, MIN_RETRY_MS), MAX_RETRY_MS);
  if (failures <= PROMPT_RETRIES) return asked;
  const grown = 1_000 * 2 ** Math.min(failures - PROMPT_RETRIES - 1, 6);
  return Math.max(asked, Math.min(grown, MAX_RETRY_MS)) * (1 + JITTER * random());
}
