/** Ends a timer; calling it after the timer fired, or twice, does nothing. */
export type Disarm = () => void;

/**
 * Time as a port. `now()` is monotonic milliseconds (never wall time), `wallTime()` milliseconds since the epoch for
 * anything stored or shown. Tests give a virtual clock; production uses `createClock()`.
 */
export interface Clock {
  now(): number;
  wallTime(): number;
  /** Calls `fn` once, not before `ms` milliseconds have passed. Timers that hold the process open are the default. */
  after(ms: number, fn: () => void, options?: { readonly unref?: boolean }): Disarm;
  /** A coarse deadline: at most `WHEEL_TICK_MS` late, cheap enough for one per request. */
  deadline(at: number, entry: DeadlineEntry): void;
  cancelDeadline(entry: DeadlineEntry): void;
}

/** Lives inside the thing that has the deadline, so that arming one allocates nothing. */
export interface DeadlineEntry {
  onDeadline(): void;
  /** Owned by the wheel. */
  wheelSlot?: Set<DeadlineEntry> | undefined;
  wheelAt?: number;
}

/** Resolution of the deadline wheel in milliseconds; well inside the promised "deadline + 250 ms". */
const WHEEL_TICK_MS = 10;

/**
 * A timer that comes later than this shows that the host has stalled: answers may already lie in pipes and sockets. They
 * count before the timers do, so what the timer does waits for the event loop to read them.
 */
const STALL_MS = 100;
const TURNS_AFTER_STALL = 8;

export function createClock(): Clock {
  const wheel = new DeadlineWheel();
  return {
    now: () => performance.now(),
    wallTime: () => Date.now(),
    after(ms, fn, options) {
      const delay = Math.min(ms, MAX_TIMER_MS);
      const at = performance.now() + delay;
      let wanted = true;
      const timer = setTimeout(() => {
        if (performance.now() - at > STALL_MS) afterTurns(TURNS_AFTER_STALL, () => wanted && fn());
        else fn();
      }, delay);
      if (options?.unref === true) timer.unref();
      return () => {
        wanted = false;
        clearTimeout(timer);
      };
    },
    deadline: (at, entry) => wheel.add(at, entry),
    cancelDeadline: (entry) => wheel.remove(entry),
  };
}

function afterTurns(turns: number, fn: () => void): void {
  if (turns === 0) fn();
  else setImmediate(() => afterTurns(turns - 1, fn));
}

/** Node fires longer timers at once (2^31 − 1 ms, 24.8 days). */
export const MAX_TIMER_MS = 2_147_483_647;

/**
 * Hashed timer wheel: one Set per tick, one native timer in all, armed for the earliest occupied slot and only while
 * something waits.
 */
class DeadlineWheel {
  readonly #slots = new Map<number, Set<DeadlineEntry>>();
  /** The slot emptied last: one request after the other shall not cost a Set each. */
  #spare: Set<DeadlineEntry> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Infinity;
  #disarming = false;

  add(at: number, entry: DeadlineEntry): void {
    const tick = Math.ceil(at / WHEEL_TICK_MS);
    let slot = this.#slots.get(tick);
    if (slot === undefined) {
      slot = this.#spare ?? new Set();
      this.#spare = undefined;
      this.#slots.set(tick, slot);
    }
    slot.add(entry);
    entry.wheelSlot = slot;
    entry.wheelAt = tick;
    if (tick < this.#armedFor) this.#arm(tick);
  }

  remove(entry: DeadlineEntry): void {
    const slot = entry.wheelSlot;
    if (slot === undefined) return;
    entry.wheelSlot = undefined;
    slot.delete(entry);
    if (slot.size === 0) {
      this.#slots.delete(entry.wheelAt ?? -1);
      this.#spare = slot;
      if (this.#slots.size === 0) this.#disarmSoon();
    }
  }

  #arm(tick: number): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#armedFor = tick;
    const delay = Math.max(1, Math.min(tick * WHEEL_TICK_MS - performance.now(), MAX_TIMER_MS));
    this.#timer = setTimeout(() => this.#wake(), delay);
  }

  /**
   * Nothing waits now; who makes one request after the other has the next deadline in a moment, and arming a timer for
   * each costs more than all the rest of the path. So the timer goes at the end of this turn, if nothing came.
   */
  #disarmSoon(): void {
    if (this.#disarming) return;
    this.#disarming = true;
    setImmediate(() => {
      this.#disarming = false;
      if (this.#slots.size > 0) return;
      if (this.#timer !== undefined) clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#armedFor = Infinity;
    });
  }

  #wake(): void {
    this.#timer = undefined;
    const late = performance.now() - this.#armedFor * WHEEL_TICK_MS;
    if (late > STALL_MS) afterTurns(TURNS_AFTER_STALL, () => this.#expire());
    else this.#expire();
  }

  #expire(): void {
    const nowTick = Math.floor(performance.now() / WHEEL_TICK_MS);
    this.#armedFor = Infinity;
    let next = Infinity;
    const ticks: number[] = [];
    for (const tick of this.#slots.keys()) {
      if (tick > nowTick) next = Math.min(next, tick);
      else ticks.push(tick);
    }
    // After a stall several slots are due at once: still in the order of time.
    ticks.sort((a, b) => a - b);
    const due = this.#take(ticks);
    if (next !== Infinity) this.#arm(next);
    // An entry may take back one that is due after it: that leaves the set and does not fire.
    for (const entry of due) {
      entry.wheelSlot = undefined;
      entry.onDeadline();
    }
  }

  /** What is due, in order, as one slot that is in the wheel no longer; it is never empty while its entries fire. */
  #take(ticks: readonly number[]): ReadonlySet<DeadlineEntry> {
    const due = this.#slots.get(ticks[0] ?? NaN) ?? new Set();
    for (const tick of ticks) {
      const slot = this.#slots.get(tick);
      this.#slots.delete(tick);
      if (slot === undefined || slot === due) continue;
      for (const entry of slot) {
        entry.wheelSlot = due;
        due.add(entry);
      }
    }
    return due;
  }
}
