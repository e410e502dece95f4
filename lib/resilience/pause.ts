import type { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';

/** Waits `ms` milliseconds; rejects with the reason as soon as `cancellation` is cancelled. Leaves no timer and no listener. */
export function pause(clock: Clock, ms: number, cancellation: Cancellation): Promise<void> {
  return new Promise((resolve, reject) => {
    let disarm: Disarm | undefined;
    const slot = cancellation.listen((reason) => {
      disarm?.();
      reject(reason);
    });
    if (cancellation.cancelled) return;
    disarm = clock.after(ms, () => {
      cancellation.ignore(slot);
      resolve();
    });
  });
}
