import { describe, expect, it } from '@jest/globals';
import { MAX_ERROR_TEXT, TroupeError, freeFrames, isTroupeError, plainText } from '../../lib/core/errors.ts';
import { collectGarbage } from '../support/garbage.ts';

describe('TroupeError', () => {
  it('is useful in a log by its message alone', () => {
    const error = new TroupeError('unavailable', 'no ready replica (2 connecting, 1 down)', {
      server: 'github',
    });
    expect(error.message).toBe('[unavailable] github: no ready replica (2 connecting, 1 down)');
    expect(error).toMatchObject({ attempt: 1, delivery: 'unsent' });
  });

  it('escapes control characters and bounds foreign text', () => {
    const error = new TroupeError('protocol_error', `a\nb\u001b[31m${'x'.repeat(5_000_000)}`);
    expect(error.message).toContain('a\\u000ab\\u001b[31m');
    expect(error.message.length).toBeLessThan(MAX_ERROR_TEXT + 100);
  });

  it('bounds data and survives what cannot be written', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(new TroupeError('internal', 'x', { data: 'y'.repeat(20_000) }).data).toEqual({
      omitted: '20002 characters',
    });
    expect(new TroupeError('internal', 'x', { data: circle }).data).toEqual({ omitted: 'not serialisable' });
  });

  it('takes anything in at its one door and keeps its own', () => {
    const own = new TroupeError('denied', 'no');
    expect(TroupeError.from(own)).toBe(own);
    expect(TroupeError.from(own, { server: 'a' })).toMatchObject({ code: 'denied', server: 'a' });
    for (const foreign of [new Error('boom'), 'boom', null, undefined, { boom: 1 }, 7n]) {
      expect(TroupeError.from(foreign)).toMatchObject({ code: 'internal' });
    }
  });

  it('is recognised by shape, so that two copies of the package understand each other', () => {
    const twin = Object.assign(new Error('x'), { name: 'TroupeError', code: 'denied' });
    expect(isTroupeError(twin)).toBe(true);
    expect(isTroupeError(Object.assign(new Error('x'), { code: 'denied' }))).toBe(false);
  });

  it('changes facts without losing others', () => {
    const error = new TroupeError('rate_limited', 'slow down', {
      server: 'a',
      retryAfterMs: 5,
      delivery: 'answered',
    });
    expect(error.with({ attempt: 3 })).toMatchObject({
      server: 'a',
      retryAfterMs: 5,
      delivery: 'answered',
      attempt: 3,
    });
  });
});

it('plainText leaves ordinary text alone', () => {
  expect(plainText('grün ✓ 日本')).toBe('grün ✓ 日本');
});

describe('freeFrames', () => {
  class Session {
    fail(cause?: Error): Error {
      return new Error('gone', { cause });
    }
  }

  /** An error from a session, which nobody else holds. */
  function errorOf(cause?: Error): { readonly error: Error; readonly session: WeakRef<Session> } {
    const session = new Session();
    return { error: session.fail(cause), session: new WeakRef(session) };
  }

  it('lets go what the functions of an error and of its causes were called on', async () => {
    const inner = errorOf();
    const outer = errorOf(inner.error);
    const other = errorOf();
    freeFrames(outer.error);
    await new Promise((resolve) => void setTimeout(resolve, 5));
    collectGarbage();
    expect([inner.session.deref(), outer.session.deref()]).toEqual([undefined, undefined]);
    // Else this would show nothing.
    expect(other.session.deref()).toBeDefined();
    expect(outer.error.stack).toContain('gone');
    expect(other.error.message).toBe('gone');
  });

  it('ends with causes that go round', () => {
    const error = new Error('a');
    error.cause = error;
    expect(() => freeFrames(error)).not.toThrow();
  });

  it('survives what a host or a server makes of errors', () => {
    const cause = Object.defineProperty(new Error('x'), 'stack', {
      get() {
        throw new RangeError('no stack for you');
      },
    });
    expect(() => freeFrames(new Error('a', { cause }))).not.toThrow();
  });
});
