import type { Clock, DeadlineEntry, Disarm } from '../../lib/core/clock.ts';

/** Time that moves only when a spec says so. */
export interface VirtualClock extends Clock {
  /** Lets `ms` milliseconds pass: fires what is due in order of time, then of arming, and lets promises settle in between. */
  advance(ms: number): Promise<void>;
  /** Lets promises settle without any time passing. */
  flush(): Promise<void>;
  /** Advances from timer to timer until `promise` settles; fails when nothing is armed or `limitMs` (default 1 h) have passed. */
  settle<T>(promise: Promise<T>, limitMs?: number): Promise<T>;
  /** Timers and deadlines still armed: what a leak spec counts. */
  readonly armed: number;
  /** When the next timer or deadline is due, if any. */
  readonly nextAt: number | undefined;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

// Taken before a spec can install fake timers.
const realImmediate = setImmediate;
const turn = (): Promise<void> => new Promise((resolve) => void realImmediate(resolve));

/** `start` is the first value of `now()`; `wallTime()` starts at 2026-01-01 unless `epoch` says otherwise. */
export function createVirtualClock(start = 1_000, epoch = Date.UTC(2026, 0, 1)): VirtualClock {
  let now = start;
  let order = 0;
  const timers = new Set<Timer>();
  const deadlines = new Map<DeadlineEntry, Timer>();

  const arm = (at: number, fire: () => void): Timer => {
    const timer = { at, order: order++, fire };
    timers.add(timer);
    return timer;
  };
  const earliest = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  };

  async function advanceTo(end: number): Promise<void> {
    await turn();
    for (;;) {
      const timer = earliest();
      if (timer === undefined || timer.at > end) break;
      timers.delete(timer);
      now = Math.max(now, timer.at);
      timer.fire();
      await turn();
    }
    now = Math.max(now, end);
  }

  const cancelDeadline = (entry: DeadlineEntry): void => {
    const timer = deadlines.get(entry);
    if (timer === undefined) return;
    deadlines.delete(entry);
    timers.delete(timer);
  };

  return {
    now: () => now,
    wallTime: () => epoch + (now - start),
    after(ms, fn): Disarm {
      const timer = arm(now + Math.max(0, ms), fn);
      return () => void timers.delete(timer);
    },
    deadline(at, entry) {
      cancelDeadline(entry);
      deadlines.set(
        entry,
        arm(at, () => {
          deadlines.delete(entry);
          entry.onDeadline();
        }),
      );
    },
    cancelDeadline,
    advance: (ms) => advanceTo(now + ms),
    flush: turn,
    async settle(promise, limitMs = 3_600_000) {
      const watch = { settled: false };
      void promise
        .catch(() => {})
        .finally(() => {
          watch.settled = true;
        });
      const end = now + limitMs;
      await turn();
      while (!watch.settled) {
        const next = earliest();
        if (next === undefined)
          throw new Error('the promise is pending and no timer is armed: it would hang');
        if (next.at > end) throw new Error(`the promise is still pending after ${limitMs} ms`);
        await advanceTo(next.at);
      }
      return promise;
    },
    get armed() {
      return timers.size;
    },
    get nextAt() {
      return earliest()?.at;
    },
  };
}
