import { describe, expect, it } from '@jest/globals';
import { BearerCredentials } from '../../../lib/mcp/authorization/bearer.ts';
import type { TokenSource } from '../../../lib/mcp/authorization/options.ts';
import { createVirtualClock } from '../../support/virtual-clock.ts';

const refusal = { status: 401, wwwAuthenticate: undefined };
const make = (token: TokenSource | undefined, clock = createVirtualClock()): BearerCredentials =>
  new BearerCredentials({ token, clock, server: 'alpha', timeoutMs: 1_000 });

describe('a token of the host', () => {
  it('is at hand without waiting', async () => {
    const credentials = make('t');
    expect(credentials.headers()).toEqual({ authorization: 'Bearer t' });
    expect(credentials.headers()).toBe(credentials.headers());
    await expect(credentials.refused({ ...refusal, used: { authorization: 'Bearer t' } })).resolves.toBe(
      true,
    );
    await expect(credentials.refused(refusal)).resolves.toBe(false);
  });

  it('is absent until one is given', () => {
    const credentials = make(undefined);
    expect([credentials.empty, credentials.headers()]).toEqual([true, undefined]);
    credentials.give('t');
    expect([credentials.empty, credentials.headers()]).toEqual([false, { authorization: 'Bearer t' }]);
    expect(() => credentials.give('a\r\nb')).toThrow(/auth_required.*alpha/);
  });

  it('is got once for all who ask at the same time, and again for all who were refused', async () => {
    let count = 0;
    const credentials = make(() => Promise.resolve(`t${++count}`));
    const [first] = await Promise.all([credentials.headers(), credentials.headers()]);
    expect(first).toEqual({ authorization: 'Bearer t1' });
    const help = await Promise.all(
      Array.from({ length: 20 }, () => credentials.refused({ ...refusal, used: first })),
    );
    expect([new Set(help), count]).toEqual([new Set([true]), 2]);
    // One that was refused with the old token, late: there is a newer one already.
    await expect(credentials.refused({ ...refusal, used: first })).resolves.toBe(true);
    expect(count).toBe(2);
  });

  it('that stays the same is not sent again, and 403 is not cured by another one', async () => {
    let count = 0;
    const credentials = make(() => {
      count += 1;
      return 't';
    });
    const used = await credentials.headers();
    await expect(credentials.refused({ ...refusal, used })).resolves.toBe(false);
    await expect(credentials.refused({ status: 403, wwwAuthenticate: undefined, used })).resolves.toBe(false);
    expect(count).toBe(2);
  });

  it('whose callback hangs is given up, and asked again by the next request', async () => {
    const clock = createVirtualClock();
    let count = 0;
    const credentials = make(() => (++count === 1 ? new Promise<string>(() => {}) : 't'), clock);
    const late = Promise.resolve(credentials.headers()).catch((error: unknown) => error);
    await clock.advance(1_000);
    expect(await late).toMatchObject({ code: 'unavailable', server: 'alpha' });
    await expect(credentials.headers()).resolves.toEqual({ authorization: 'Bearer t' });
    expect(clock.armed).toBe(0);
  });
});
