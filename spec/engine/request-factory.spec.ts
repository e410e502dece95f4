import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import {
  checkArguments,
  checkText,
  createRequestFactory,
  principalOf,
} from '../../lib/engine/request-factory.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const host = { id: 'host' };
const clock = createVirtualClock(5_000);
const factory = createRequestFactory({ clock, principal: host });
const call = { method: 'tools/call', params: { name: 'echo' }, target: 'echo' };

describe('a request', () => {
  it('is frozen, numbered, and ends its time after it began', () => {
    const first = factory.create(call, undefined, 700);
    const second = factory.create(call, { timeoutMs: 300 }, 700);
    expect(Object.isFrozen(first)).toBe(true);
    expect(second.seq).toBe(first.seq + 1);
    expect([first.startedAt, first.deadline, second.deadline]).toEqual([5_000, 5_700, 5_300]);
    expect(first).toMatchObject({
      attempt: 1,
      tried: [],
      cache: 'use',
      batch: false,
      facts: { attempts: 0 },
    });
    expect(first.facts).not.toBe(second.facts);
  });

  it.each([
    ['resources/read', undefined, 'read'],
    ['tools/list', { idempotent: true }, 'read'],
    ['tools/call', undefined, 'unsafe'],
    ['tools/call', { idempotent: false }, 'unsafe'],
    ['tools/call', { idempotent: true }, 'idempotent'],
    ['vendor/do', undefined, 'unsafe'],
  ])('%s with %j is %s', (method, options, operation) => {
    expect(factory.create({ ...call, method }, options, 100).operation).toBe(operation);
  });

  it('is made on behalf of the host unless the caller says otherwise', () => {
    expect(factory.create(call, undefined, 100).principal).toBe(host);
    expect(factory.create(call, { principal: 'anna' }, 100).principal).toEqual({ id: 'anna' });
    expect(principalOf({ id: 'bert', roles: ['x'] })).toEqual({ id: 'bert', roles: ['x'] });
  });

  it.each([
    ['nothing of its own', { name: 'echo' }, { name: 'echo', _meta: { trace: '1' } }],
    ['no params', undefined, { _meta: { trace: '1' } }],
    ['a _meta of its own', { _meta: { own: 1, trace: '0' } }, { _meta: { own: 1, trace: '1' } }],
    ['a _meta that is none', { _meta: 'x' }, { _meta: { trace: '1' } }],
  ])('carries the further fields of _meta beside %s', (_, params, expected) => {
    const meta = { trace: '1' };
    const made = factory.create({ ...call, params }, { meta }, 100);
    expect(made.params).toEqual(expected);
    expect(made.meta).toBe(meta);
  });

  it.each([NaN, 0, -1, Infinity, 2 ** 31, '100', null])('with a timeout of %p is none', (timeoutMs) => {
    const make = () => factory.create(call, { timeoutMs: timeoutMs as number }, NaN);
    expect(make).toThrow(TroupeError);
    expect(make).toThrow(/\[invalid_request\].*timeoutMs must be .* at most 2147483647/);
  });

  it('takes the longest time that a timer can hold', () => {
    expect(factory.create(call, { timeoutMs: 2 ** 31 - 1 }, 100).deadline).toBe(5_000 + 2 ** 31 - 1);
  });

  it('ends with the signal of its caller, and lets go of it when it is over', () => {
    const aborter = new AbortController();
    const [one, other] = [1, 2].map(() => factory.create(call, { signal: aborter.signal }, 100));
    other?.cancellation.settled();
    aborter.abort(new Error('no longer needed'));
    expect(one?.cancellation.reason).toMatchObject({ code: 'cancelled' });
    expect(one?.cancellation.reason?.cause).toBe(aborter.signal.reason);
    expect(other?.cancellation.cancelled).toBe(false);
  });

  it('is not made at all for a signal that was aborted before', () => {
    expect(() => factory.create(call, { signal: AbortSignal.abort() }, 100)).toThrow(/\[cancelled\]/);
  });
});

describe('what a caller gives', () => {
  it.each([
    [null, 'null'],
    [[1], 'an array'],
    ['text', 'string'],
    [7, 'number'],
    [() => {}, 'function'],
  ])('as arguments must be an object: not %p', (given, named) => {
    expect(() => checkArguments(given, 'the arguments')).toThrow(
      `the arguments must be an object, not ${named}`,
    );
  });

  it('may have no arguments', () => {
    expect(checkArguments(undefined, 'the arguments')).toBeUndefined();
    expect(checkArguments({ a: 1 }, 'the arguments')).toEqual({ a: 1 });
  });

  it.each([undefined, null, '', 7, {}])('as a name must be text: not %p', (given) => {
    expect(() => checkText(given, 'the name')).toThrow('the name must be a non-empty string');
  });
});
