import { type ErrorCode, TroupeError } from '../../lib/core/errors.ts';
import type { Outcome } from '../../lib/core/outcome.ts';

const CODES: Partial<{ [K in Outcome]: ErrorCode }> = {
  overload: 'queue_full',
  timeout: 'deadline_exceeded',
  transport: 'connection_lost',
};

const ALIKE = new Map<string, TroupeError>();

/** As `failureOf`, one for all of a kind: for who only looks at it. Errors are dear, since each has its stack. */
export function alike(outcome: Outcome, sent: boolean, retryAfterMs: number | undefined): TroupeError {
  if (retryAfterMs !== undefined) return failureOf(outcome, sent, retryAfterMs);
  const kind = `${outcome} ${sent}`;
  const known = ALIKE.get(kind) ?? failureOf(outcome, sent, undefined);
  ALIKE.set(kind, known);
  return known;
}

/** What the engine would make of it. */
export function failureOf(outcome: Outcome, sent: boolean, retryAfterMs: number | undefined): TroupeError {
  if (outcome === 'server-error') {
    return new TroupeError('connection_lost', 'the server failed', { delivery: 'sent' });
  }
  return new TroupeError(CODES[outcome] ?? 'connection_lost', outcome, {
    delivery: sent ? 'sent' : outcome === 'overload' ? 'answered' : 'unsent',
    retryAfterMs,
  });
}
