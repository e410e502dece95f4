import type { Clock, DeadlineEntry, Disarm } from '../../lib/core/clock.ts';
import { type Random, seededRandom } from '../../lib/core/ports.ts';
import { hash32 } from '../../lib/routing/hash.ts';

/** Something that happens at a moment of virtual time. */
export interface Happening {
  happen(): void;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const WALL_TIME_START = Date.UTC(2026, 0, 1);

/** The log of one run: a hash, and how many events are in it. */
interface Log {
  hash: number;
  logged: number;
}

/** The logs of the runs since `open`, in the order in which they began: one hash says whether all of them were the same. */
export const ledger = {
  logs: undefined as Log[] | undefined,
  open(): void {
    ledger.logs = [];
  },
  /** Undefined: nothing was logged. */
  close(): string | undefined {
    const logs = ledger.logs?.filter(({ logged }) => logged > 0) ?? [];
    ledger.logs = undefined;
    return logs.length === 0 ? undefined : hexOf(hash32(logs.map(({ hash }) => hexOf(hash)).join()));
  },
};

const hexOf = (hash: number): string => (hash >>> 0).toString(16).padStart(8, '0');

/**
 * Virtual time in milliseconds: a binary heap ordered by (time, sequence), so that what is planned for one moment happens
 * in the order of planning. It is the `Clock` of everything under test. The log of events is kept as a hash: two runs
 * with the same seed have the same one, or something in the code depends on the machine.
 */
export class Kernel implements Clock {
  readonly seed: number;
  #now = 0;
  #order = 0;
  #size = 0;
  #at = new Float64Array(1_024);
  #sequence = new Float64Array(1_024);
  readonly #what: Happening[] = [];
  readonly #log: Log = { hash: 0x811c9dc5, logged: 0 };
  #promised = false;

  constructor(seed: number) {
    this.seed = seed;
    ledger.logs?.push(this.#log);
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return WALL_TIME_START + this.#now;
  }

  /** One stream per purpose: another strategy draws other routes, but meets the same arrivals and sizes. */
  stream(purpose: string): Random {
    return seededRandom(hash32(purpose, this.seed ^ 0x811c9dc5));
  }

  at(time: number, what: Happening): void {
    const order = this.#order++;
    if (this.#size === this.#at.length) this.#grow();
    let hole = this.#size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // What is planned later stays behind what was planned for the same moment before.
      if (this.#at[parent]! <= time) break;
      this.#move(parent, hole);
      hole = parent;
    }
    this.#put(hole, time, order, what);
  }

  after(ms: number, fn: () => void): Disarm {
    const timer = {
      armed: true,
      happen: (): void => {
        if (!timer.armed) return;
        timer.armed = false;
        this.#promised = true;
        fn();
      },
    };
    this.at(this.#now + Math.max(0, ms), timer);
    return () => {
      timer.armed = false;
    };
  }

  deadline(at: number, entry: DeadlineEntry): void {
    this.cancelDeadline(entry);
    this.#deadlines.set(
      entry,
      this.after(at - this.#now, () => {
        this.#deadlines.delete(entry);
        entry.onDeadline();
      }),
    );
  }

  cancelDeadline(entry: DeadlineEntry): void {
    this.#deadlines.get(entry)?.();
    this.#deadlines.delete(entry);
  }

  readonly #deadlines = new Map<DeadlineEntry, Disarm>();

  /** The event at hand has woken code that goes on in a promise; `runInTurns` lets it go on before time moves. */
  promised(): void {
    this.#promised = true;
  }

  /** Until nothing is planned, or the time has come. For code without promises. */
  run(until = Infinity): void {
    while (this.#size > 0 && this.#at[0]! <= until) this.#take().happen();
  }

  /** As `run`, with promises settling between the events. */
  async runInTurns(until = Infinity): Promise<void> {
    await turn();
    while (this.#size > 0 && this.#at[0]! <= until) {
      this.#promised = false;
      this.#take().happen();
      if (this.#promised) await turn();
    }
  }

  /** As `runInTurns`, until `done`: for what keeps timers of its own. What was woken is given the turn in which it sends. */
  async runInTurnsUntil(done: () => boolean): Promise<void> {
    while (!done() && this.#size > 0) {
      this.#promised = false;
      this.#take().happen();
      if (!this.#promised) continue;
      await turn();
      await turn();
    }
  }

  /** Adds to the log what happened now to whom. */
  log(what: number, whom: number): void {
    const log = this.#log;
    log.logged++;
    // A microsecond is as fine as the log is.
    const time = Math.floor(this.#now * 1_000) | 0;
    const hash = Math.imul(log.hash ^ time, 0x01000193);
    log.hash = Math.imul(hash ^ (hash >>> 15) ^ (what + 31 * whom), 0x01000193);
  }

  get logHash(): string {
    return hexOf(this.#log.hash);
  }

  get logged(): number {
    return this.#log.logged;
  }

  #take(): Happening {
    const first = this.#what[0]!;
    this.#now = this.#at[0]!;
    const last = --this.#size;
    const time = this.#at[last]!;
    const order = this.#sequence[last]!;
    const what = this.#what[last]!;
    this.#what.length = last;
    if (last === 0) return first;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#before(child + 1, child)) child++;
      if (!(this.#at[child]! < time || (this.#at[child] === time && this.#sequence[child]! < order))) break;
      this.#move(child, hole);
      hole = child;
    }
    this.#put(hole, time, order, what);
    return first;
  }

  #before(a: number, b: number): boolean {
    const difference = this.#at[a]! - this.#at[b]!;
    return difference < 0 || (difference === 0 && this.#sequence[a]! < this.#sequence[b]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#at[from]!, this.#sequence[from]!, this.#what[from]!);
  }

  #put(place: number, time: number, order: number, what: Happening): void {
    this.#at[place] = time;
    this.#sequence[place] = order;
    this.#what[place] = what;
  }

  #grow(): void {
    const at = new Float64Array(2 * this.#at.length);
    const sequence = new Float64Array(2 * this.#at.length);
    at.set(this.#at);
    sequence.set(this.#sequence);
    this.#at = at;
    this.#sequence = sequence;
  }
}
