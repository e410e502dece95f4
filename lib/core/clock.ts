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
  /** Owned by the wheel: where it stands, and between whom. */
  wheelSlot?: WheelSlot | undefined;
  wheelBefore?: DeadlineEntry | undefined;
  wheelAfter?: DeadlineEntry | undefined;
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

/** The deadlines of one tick, in order of coming; whoever is taken back leaves in constant time. */
class WheelSlot {
  readonly tick: number;
  first: DeadlineEntry | undefined = undefined;
  #last: DeadlineEntry | undefined = undefined;

  constructor(tick: number) {
    this.tick = tick;
  }

  append(entry: DeadlineEntry): void {
    const last = this.#last;
    entry.wheelSlot = this;
    entry.wheelBefore = last;
    entry.wheelAfter = undefined;
    if (last === undefined) this.first = entry;
    else last.wheelAfter = entry;
    this.#last = entry;
  }

  remove(entry: DeadlineEntry): void {
    const { wheelBefore: before, wheelAfter: after } = entry;
    if (before === undefined) this.first = after;
    else before.wheelAfter = after;
    if (after === undefined) this.#last = before;
    else after.wheelBefore = before;
    entry.wheelSlot = undefined;
    entry.wheelBefore = undefined;
    entry.wheelAfter = undefined;
  }
}

/**
 * Hashed timer wheel: one list per tick, one native timer in all, armed for the earliest slot and only while something
 * waits. A list and not a Set: to take its only member out of a Set took a microsecond here, on every call made alone.
 */
class DeadlineWheel {
  readonly #slots = new Map<number, WheelSlot>();
  /** The slot used last, kept although it may be empty: most requests have the same time, and the next is of this tick. */
  #recent: WheelSlot | undefined;
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Infinity;
  #disarming = false;

  add(at: number, entry: DeadlineEntry): void {
    this.remove(entry);
    const tick = Math.ceil(at / WHEEL_TICK_MS);
    const slot = this.#recent?.tick === tick ? this.#recent : this.#slotOf(tick);
    slot.append(entry);
    this.#waiting += 1;
    if (tick < this.#armedFor) this.#arm(tick);
  }

  remove(entry: DeadlineEntry): void {
    const slot = entry.wheelSlot;
    if (slot === undefined) return;
    slot.remove(entry);
    this.#waiting -= 1;
    if (slot !== this.#recent) this.#dropEmpty(slot);
    if (this.#waiting === 0) this.#disarmSoon();
  }

  #slotOf(tick: number): WheelSlot {
    if (this.#recent !== undefined) this.#dropEmpty(this.#recent);
    let slot = this.#slots.get(tick);
    if (slot === undefined) {
      slot = new WheelSlot(tick);
      this.#slots.set(tick, slot);
    }
    this.#recent = slot;
    return slot;
  }

  /** One that is due is in the wheel no longer; another may stand in its place. */
  #dropEmpty(slot: WheelSlot): void {
    if (slot.first === undefined && this.#slots.get(slot.tick) === slot) this.#slots.delete(slot.tick);
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
      if (this.#waiting > 0) return;
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
    const due: WheelSlot[] = [];
    for (const slot of this.#slots.values()) {
      if (slot.tick <= nowTick) due.push(slot);
      else if (slot.first !== undefined) next = Math.min(next, slot.tick);
    }
    for (const slot of due) {
      this.#slots.delete(slot.tick);
      if (slot === this.#recent) this.#recent = undefined;
    }
    if (next !== Infinity) this.#arm(next);
    // After a stall several slots are due at once: still in the order of time. An entry may take back one that is due
    // after it: that leaves its slot and does not fire.
    due.sort((a, b) => a.tick - b.tick);
    for (const slot of due) {
      for (let entry = slot.first; entry !== undefined; entry = slot.first) {
        this.remove(entry);
        entry.onDeadline();
      }
    }
  }
}
