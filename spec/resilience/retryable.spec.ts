import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { type Delivery, ERROR_CODES, type ErrorCode } from '../../lib/core/errors.ts';
import type { OperationClass } from '../../lib/core/request.ts';
import { MAX_RETRY_AFTER_MS, isRetryable, namedOutcome } from '../../lib/resilience/retryable.ts';
import { failure } from '../support/requests.ts';

const of = (operation: OperationClass): { operation: OperationClass; cancellation: Cancellation } => ({
  operation,
  cancellation: new Cancellation(),
});

const REPEATABLE = ['read', 'read-only', 'idempotent'] as const;
const DELIVERIES: readonly Delivery[] = ['unsent', 'sent', 'answered'];

describe('isRetryable', () => {
  it.each<[ErrorCode, Delivery, boolean, boolean, string]>([
    // code, delivery, repeatable operations, unsafe ones, reason (of the repeatable ones)
    ['unavailable', 'unsent', true, true, 'not_sent'],
    ['connection_lost', 'unsent', true, true, 'not_sent'],
    ['circuit_open', 'unsent', true, true, 'not_sent'],
    ['queue_full', 'unsent', true, true, 'not_sent'],
    ['rate_limited', 'unsent', true, true, 'not_sent'],
    ['deadline_exceeded', 'unsent', true, true, 'not_sent'],
    ['limit_exceeded', 'unsent', false, false, 'final'],
    ['denied', 'unsent', false, false, 'final'],
    ['invalid_request', 'unsent', false, false, 'final'],
    ['not_found', 'unsent', false, false, 'final'],
    ['ambiguous_name', 'unsent', false, false, 'final'],
    ['stopped', 'unsent', false, false, 'final'],
    ['cancelled', 'unsent', false, false, 'final'],
    ['auth_required', 'unsent', false, false, 'final'],
    ['affinity_lost', 'unsent', false, false, 'final'],
    ['unsupported', 'unsent', false, false, 'final'],
    ['config_invalid', 'unsent', false, false, 'final'],
    ['internal', 'unsent', false, false, 'final'],
    ['connection_lost', 'sent', true, false, 'repeatable'],
    ['unavailable', 'sent', true, false, 'repeatable'],
    ['deadline_exceeded', 'sent', true, false, 'repeatable'],
    ['invalid_response', 'sent', true, false, 'repeatable'],
    ['outcome_unknown', 'sent', true, false, 'repeatable'],
    ['limit_exceeded', 'sent', false, false, 'final'],
    ['internal', 'sent', false, false, 'final'],
    ['rate_limited', 'answered', true, true, 'not_processed'],
    ['queue_full', 'answered', true, true, 'not_processed'],
    ['unavailable', 'answered', true, false, 'repeatable'],
    ['invalid_response', 'answered', false, false, 'answered'],
    ['limit_exceeded', 'answered', false, false, 'answered'],
    ['protocol_error', 'answered', false, false, 'answered'],
    ['not_found', 'answered', false, false, 'final'],
    ['invalid_request', 'answered', false, false, 'final'],
  ])('%s, %s: repeatable %s, unsafe %s (%s)', (code, delivery, repeatable, unsafe, reason) => {
    for (const operation of REPEATABLE) {
      expect(isRetryable(failure(code, { delivery }), of(operation))).toEqual({ retry: repeatable, reason });
    }
    expect(isRetryable(failure(code, { delivery }), of('unsafe')).retry).toBe(unsafe);
  });

  it.each([
    [-32_022, true],
    [-32_020, true],
    [-32_021, false],
    [-32_601, false],
    [-32_602, false],
    [-32_603, false],
    [-32_700, false],
  ])('protocol error %i answered: retried %s', (code, retried) => {
    const error = failure('protocol_error', { delivery: 'answered', data: { code } });
    expect(isRetryable(error, of('unsafe')).retry).toBe(retried);
  });

  it('honours Retry-After up to a minute', () => {
    const after = (retryAfterMs: number): number | undefined =>
      isRetryable(failure('rate_limited', { delivery: 'answered', retryAfterMs }), of('unsafe')).afterMs;
    expect(after(1_500)).toBe(1_500);
    expect(after(86_400_000)).toBe(MAX_RETRY_AFTER_MS);
    expect(after(0)).toBeUndefined();
    expect(after(-5)).toBeUndefined();
    expect(after(Number.NaN)).toBeUndefined();
  });

  it('a limit that names a time, like a full write queue, is retried', () => {
    expect(isRetryable(failure('limit_exceeded', { retryAfterMs: 50 }), of('unsafe'))).toEqual({
      retry: true,
      reason: 'not_sent',
      afterMs: 50,
    });
  });

  it('nothing is retried for a caller who has gone, nor for what is not our error', () => {
    const request = of('read');
    expect(isRetryable(new TypeError('fetch failed'), request)).toEqual({ retry: false, reason: 'final' });
    request.cancellation.cancel(failure('cancelled'));
    expect(isRetryable(failure('unavailable'), request)).toEqual({ retry: false, reason: 'over' });
  });

  it('never runs an unsafe request twice: retried only if unsent or refused unread', () => {
    const property = fc.property(
      fc.constantFrom(...ERROR_CODES),
      fc.constantFrom(...DELIVERIES),
      fc.option(fc.integer({ min: -1, max: 100_000 }), { nil: undefined }),
      (code, delivery, retryAfterMs) => {
        const error = failure(code, { delivery, retryAfterMs });
        const { retry, reason } = isRetryable(error, of('unsafe'));
        if (!retry) return true;
        // What is safe for an unsafe request is safe for all.
        const safe = delivery !== 'sent' && (reason === 'not_sent' || reason === 'not_processed');
        return safe && REPEATABLE.every((operation) => isRetryable(error, of(operation)).retry);
      },
    );
    expect(() => fc.assert(property)).not.toThrow();
  });
});

describe('namedOutcome', () => {
  it('calls a lost unsafe request outcome_unknown and keeps the facts', () => {
    const lost = failure('connection_lost', {
      delivery: 'sent',
      connection: 'alpha#1',
      attempt: 2,
      data: { exit: 1 },
    });
    expect(namedOutcome(lost, { operation: 'unsafe' })).toMatchObject({
      code: 'outcome_unknown',
      server: 'alpha',
      connection: 'alpha#1',
      attempt: 2,
      delivery: 'sent',
      data: { exit: 1 },
      cause: lost,
    });
  });

  it('leaves everything else alone', () => {
    const lost = failure('connection_lost', { delivery: 'sent' });
    for (const operation of REPEATABLE) expect(namedOutcome(lost, { operation })).toBe(lost);
    const unsent = failure('connection_lost');
    expect(namedOutcome(unsent, { operation: 'unsafe' })).toBe(unsent);
    const late = failure('deadline_exceeded', { delivery: 'sent' });
    expect(namedOutcome(late, { operation: 'unsafe' })).toBe(late);
    const foreign = new Error('x');
    expect(namedOutcome(foreign, { operation: 'unsafe' })).toBe(foreign);
  });
});
