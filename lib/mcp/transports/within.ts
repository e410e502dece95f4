import type { Clock, Disarm } from '../../core/clock.ts';

/**
 * Waits for `work` at most `ms` milliseconds. True when it ended in time, however it ended; a late end is nobody's
 * concern any more.
 */
export async function endsWithin(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  let disarm: Disarm = () => {};
  const late = new Promise<boolean>((resolve) => {
    disarm = clock.after(Math.max(0, ms), () => resolve(false));
  });
  try {
    return await Promise.race([work.then(always, always), late]);
  } finally {
    disarm();
  }
}

function always(): boolean {
  return true;
}
