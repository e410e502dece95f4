import { SLICE_MS } from '../core/pace.ts';

/** Work that comes in floods and must be done in order. */
export interface Slices {
  /** Does it now, or as soon as there is time for it; rejects with what it throws. */
  run(work: () => void): Promise<void>;
}

/**
 * Does such work at once as long as it took less than a slice in this turn of the event loop, the rest in later turns:
 * when a thousand servers list at the same moment, nobody's call waits for all of them.
 */
export function createSlices(now: () => number, sliceMs = SLICE_MS): Slices {
  const waiting: Array<() => void> = [];
  let since: number | undefined;

  const spent = (): boolean => {
    if (since === undefined) {
      since = now();
      setImmediate(nextTurn);
    }
    return now() - since >= sliceMs;
  };

  const nextTurn = (): void => {
    since = undefined;
    while (waiting.length > 0 && !spent()) waiting.shift()?.();
  };

  return {
    run(work) {
      return new Promise((resolve) => {
        // Done here and now; what it throws is the rejection.
        const settle = (): void => resolve((async () => work())());
        if (waiting.length > 0 || spent()) waiting.push(settle);
        else settle();
      });
    },
  };
}
