import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';

/**
 * Work of others (a callback of the host, a round with an authorization server) that gets `ms` milliseconds. When it is
 * late, `signal` aborts what it has under way and the answer is `unavailable`: the next attempt may find it awake.
 */
export async function bounded<T>(
  work: (signal: AbortSignal) => T | Promise<T>,
  {
    clock,
    ms,
    server,
    what,
  }: { readonly clock: Clock; readonly ms: number; readonly server: string; readonly what: string },
): Promise<T> {
  const aborter = new AbortController();
  let disarm: Disarm = () => {};
  const late = new Promise<never>((_, reject) => {
    disarm = clock.after(ms, () => {
      reject(
        new TroupeError('unavailable', `${what} took longer than ${ms} ms`, {
          server,
          data: { reason: 'authorization_timeout', limitMs: ms },
        }),
      );
      aborter.abort();
    });
  });
  try {
    return await Promise.race([work(aborter.signal), late]);
  } finally {
    disarm();
  }
}
