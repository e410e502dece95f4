import type { Outcome } from '../../lib/core/outcome.ts';
import type { Random } from '../../lib/core/ports.ts';
import type { Happening, Kernel } from './kernel.ts';

/** What goes wrong with a server between two moments, milliseconds. */
export type Fault =
  /** Loses what it has, refuses what comes. */
  | { readonly kind: 'crash'; readonly from: number; readonly to: number }
  /** Answers with an error after a moment, without working. `share` of the requests, default all. */
  | {
      readonly kind: 'fail';
      readonly from: number;
      readonly to: number;
      readonly afterMs: number;
      readonly share?: number;
    }
  /** Takes requests and never answers. */
  | { readonly kind: 'hang'; readonly from: number; readonly to: number }
  /** 429 at once. */
  | { readonly kind: 'overload'; readonly from: number; readonly to: number; readonly retryAfterMs: number };

export interface ServerSpec {
  /** Requests worked on at the same time. Default 1. */
  readonly slots?: number;
  /** Work done per millisecond. Default 1. */
  readonly speed?: number;
  /** `ps`: all share the slots. Default `fifo`. */
  readonly discipline?: 'fifo' | 'lifo' | 'ps';
  /** Waiting requests it takes at most; then 429. Default unlimited. */
  readonly queueCap?: number;
  /** Throws away, when their turn comes, requests nobody waits for any more. Default false. */
  readonly dropExpired?: boolean;
  /** Multiplies the speed of what starts between two moments. */
  readonly slow?: readonly { readonly from: number; readonly to: number; readonly factor: number }[];
  /** Others use the machine: gaps and bouts of exponential length, the speed is `factor` in a bout. */
  readonly antagonist?: { readonly gapMs: number; readonly boutMs: number; readonly factor: number };
  /** Some attempts stall by themselves: their work takes `factor` times as long. */
  readonly stall?: { readonly share: number; readonly factor: number };
  /** Remembers the last `entries` keys; a remembered one takes `hitFactor` of the work. */
  readonly cache?: { readonly entries: number; readonly hitFactor: number };
  readonly faults?: readonly Fault[];
  /** Drops what was cancelled, worked on or not. Default false: many tools run on after a cancel. */
  readonly heedsCancel?: boolean;
  /** For the strategies: weight and tier of the replica. */
  readonly weight?: number;
  readonly tier?: number;
  /** Requests each client sends it at once at most, the mask keeps the rest. Default unlimited. */
  readonly maxInFlight?: number;
}

/** One attempt at one server. `end` is called once, by the server. */
export interface Attempt {
  readonly size: number;
  readonly key: number;
  /** Nobody waits for it after this. */
  readonly expiresAt: number;
  /** The server begins to work on it. */
  begin?(): void;
  /** `workMs`: how long it has had a slot, milliseconds. Default 0. */
  end(outcome: Outcome, sent: boolean, retryAfterMs?: number, workMs?: number): void;
}

class Job implements Happening {
  readonly server: ServerModel;
  readonly attempt: Attempt;
  work = 0;
  startedAt = 0;
  /** Processor sharing: work not yet done. */
  left = 0;
  gone = false;

  constructor(server: ServerModel, attempt: Attempt) {
    this.server = server;
    this.attempt = attempt;
  }

  happen(): void {
    if (!this.gone) this.server.finished(this);
  }
}

/** A server: slots, a queue, a speed, a memory and its faults. */
export class ServerModel {
  readonly spec: ServerSpec;
  readonly index: number;
  /** Milliseconds of slots in use, for what was cancelled or lost midway too. */
  busyMs = 0;
  /** Requests that a crash took, waiting or worked on. */
  lostInCrash = 0;
  maxQueue = 0;
  hits = 0;
  lookups = 0;
  started = 0;
  readonly #kernel: Kernel;
  readonly #faults: Random;
  readonly #stalls: Random;
  readonly #slots: number;
  #running: Job[] = [];
  #queue: Job[] = [];
  #head = 0;
  #memory: Map<number, true> | undefined;
  #factor = 1;
  #sharedAt = 0;
  /** The next end among those that share. */
  #sharing: { happen(): void; dead: boolean } | undefined;

  constructor(kernel: Kernel, spec: ServerSpec, index: number) {
    this.#kernel = kernel;
    this.spec = spec;
    this.index = index;
    this.#faults = kernel.stream(`faults ${index}`);
    this.#stalls = kernel.stream(`stalls ${index}`);
    this.#slots = spec.slots ?? 1;
    if (spec.cache !== undefined) this.#memory = new Map();
    if (spec.antagonist !== undefined)
      this.#antagonise(spec.antagonist, kernel.stream(`antagonist ${index}`));
    for (const fault of spec.faults ?? []) {
      if (fault.kind === 'crash') kernel.at(fault.from, { happen: () => this.#crash() });
    }
  }

  /** Requests here, waiting or worked on. */
  get inFlight(): number {
    return this.#running.length + this.queued;
  }

  get queued(): number {
    return this.#queue.length - this.#head;
  }

  get isUp(): boolean {
    return this.#fault('crash') === undefined;
  }

  /** The memory is warm now; what was looked up before does not count. */
  forgetHits(): void {
    this.hits = 0;
    this.lookups = 0;
  }

  /** Nobody wants the answer any more. */
  cancel(attempt: Attempt): void {
    if (this.spec.heedsCancel !== true) return;
    const waiting = this.#queue.findIndex((job, i) => i >= this.#head && job.attempt === attempt);
    if (waiting >= 0) {
      this.#queue.splice(waiting, 1);
      attempt.end('cancelled', true);
      return;
    }
    const job = this.#running.find((running) => running.attempt === attempt);
    if (job === undefined) return;
    const isShared = this.spec.discipline === 'ps';
    if (isShared) this.#advanceShared();
    this.#forget(job);
    this.#over(job, 'cancelled', this.#spentOn(job));
    if (isShared) this.#planShared();
    else this.#next();
  }

  take(attempt: Attempt): void {
    const { spec } = this;
    if (spec.faults !== undefined && this.#takenByFault(attempt)) return;
    const job = new Job(this, attempt);
    const isShared = spec.discipline === 'ps';
    if (!isShared && this.#running.length < this.#slots) return this.#start(job);
    // Those who share beyond the slots are as many as would wait.
    const waiting = isShared ? this.#running.length - this.#slots : this.queued;
    if (waiting >= (spec.queueCap ?? Infinity)) return attempt.end('overload', false);
    if (isShared) {
      this.maxQueue = Math.max(this.maxQueue, waiting + 1);
      return this.#share(job);
    }
    this.#queue.push(job);
    this.maxQueue = Math.max(this.maxQueue, this.queued);
  }

  /** Called by the job. */
  finished(job: Job): void {
    this.#forget(job);
    this.#over(job, 'ok', job.work);
    this.#next();
  }

  #over(job: Job, outcome: Outcome, workMs: number): void {
    job.gone = true;
    this.busyMs += workMs;
    job.attempt.end(outcome, true, undefined, workMs);
  }

  /** Slot time so far of a job that is worked on. */
  #spentOn(job: Job): number {
    return this.spec.discipline === 'ps' ? job.work - job.left : this.#kernel.now() - job.startedAt;
  }

  #start(job: Job): void {
    this.started++;
    this.#running.push(job);
    job.startedAt = this.#kernel.now();
    job.work = this.#workOf(job.attempt);
    job.attempt.begin?.();
    this.#kernel.at(this.#kernel.now() + job.work, job);
  }

  #workOf({ size, key }: Attempt): number {
    const { stall, cache, speed = 1 } = this.spec;
    let work = size / (speed * this.#factor * this.#slowness());
    if (stall !== undefined && this.#stalls() < stall.share) work *= stall.factor;
    if (cache !== undefined && this.#remembers(key, cache.entries)) work *= cache.hitFactor;
    return work;
  }

  #slowness(): number {
    const { slow } = this.spec;
    if (slow === undefined) return 1;
    const now = this.#kernel.now();
    for (const { from, to, factor } of slow) if (now >= from && now < to) return factor;
    return 1;
  }

  #remembers(key: number, entries: number): boolean {
    const memory = this.#memory!;
    this.lookups++;
    const hit = memory.delete(key);
    if (hit) this.hits++;
    else if (memory.size >= entries) memory.delete(memory.keys().next().value!);
    memory.set(key, true);
    return hit;
  }

  #next(): void {
    while (this.#running.length < this.#slots && this.queued > 0) {
      const job = this.spec.discipline === 'lifo' ? this.#queue.pop()! : this.#queue[this.#head++]!;
      if (this.#head > 64 && this.#head * 2 > this.#queue.length) {
        this.#queue = this.#queue.slice(this.#head);
        this.#head = 0;
      }
      if (this.spec.dropExpired === true && job.attempt.expiresAt <= this.#kernel.now()) {
        job.attempt.end('timeout', true);
      } else {
        this.#start(job);
      }
    }
  }

  #forget(job: Job): void {
    const at = this.#running.indexOf(job);
    const last = this.#running.pop()!;
    if (last !== job) this.#running[at] = last;
  }

  /** Processor sharing: all advance at min(1, slots / n); only the next to end is planned. */
  #share(job: Job): void {
    this.#advanceShared();
    this.started++;
    job.work = this.#workOf(job.attempt);
    job.left = job.work;
    this.#running.push(job);
    this.#planShared();
  }

  #advanceShared(): void {
    const now = this.#kernel.now();
    const n = this.#running.length;
    const done = (now - this.#sharedAt) * Math.min(1, this.#slots / Math.max(1, n));
    for (const job of this.#running) job.left -= done;
    this.#sharedAt = now;
  }

  #planShared(): void {
    this.#stopSharing();
    let first: Job | undefined;
    for (const job of this.#running) if (first === undefined || job.left < first.left) first = job;
    if (first === undefined) return;
    const { left } = first;
    const next = first;
    const pace = Math.min(1, this.#slots / this.#running.length);
    const plan = {
      dead: false,
      happen: (): void => {
        if (plan.dead) return;
        this.#advanceShared();
        this.#forget(next);
        this.#over(next, 'ok', next.work);
        this.#planShared();
      },
    };
    this.#sharing = plan;
    this.#kernel.at(this.#kernel.now() + Math.max(0, left) / pace, plan);
  }

  /** What was planned to end next is off. */
  #stopSharing(): void {
    if (this.#sharing !== undefined) this.#sharing.dead = true;
    this.#sharing = undefined;
  }

  #fault<K extends Fault['kind']>(kind?: K): Extract<Fault, { kind: K }> | undefined {
    const now = this.#kernel.now();
    return this.spec.faults?.find(
      (fault): fault is Extract<Fault, { kind: K }> =>
        now >= fault.from && now < fault.to && (kind === undefined || fault.kind === kind),
    );
  }

  #takenByFault(attempt: Attempt): boolean {
    const fault: Fault | undefined = this.#fault();
    if (fault === undefined) return false;
    switch (fault.kind) {
      case 'crash':
        attempt.end('transport', false);
        return true;
      case 'hang':
        return true;
      case 'overload':
        attempt.end('overload', false, fault.retryAfterMs);
        return true;
      case 'fail':
        if (fault.share !== undefined && this.#faults() >= fault.share) return false;
        this.#kernel.at(this.#kernel.now() + fault.afterMs, {
          happen: () => attempt.end('server-error', true),
        });
        return true;
    }
  }

  #crash(): void {
    if (this.spec.discipline === 'ps') {
      this.#advanceShared();
      this.#stopSharing();
    }
    const running = this.#running;
    const waiting = this.#queue.slice(this.#head);
    this.#running = [];
    this.#queue = [];
    this.#head = 0;
    this.#memory?.clear();
    this.lostInCrash += running.length + waiting.length;
    for (const job of running) this.#over(job, 'transport', this.#spentOn(job));
    for (const job of waiting) this.#over(job, 'transport', 0);
  }

  #antagonise(
    { gapMs, boutMs, factor }: { gapMs: number; boutMs: number; factor: number },
    random: Random,
  ): void {
    const exponential = (mean: number): number => -mean * Math.log(1 - random());
    const gap = {
      happen: (): void => this.#bout(factor, exponential(boutMs), () => this.#plan(exponential(gapMs), gap)),
    };
    // Somewhere in the cycle to begin with, so that servers are not in step.
    if (random() < boutMs / (gapMs + boutMs)) gap.happen();
    else this.#plan(exponential(gapMs), gap);
  }

  #plan(inMs: number, what: Happening): void {
    // A cycle without end would keep the run from ending.
    if (!this.stopped) this.#kernel.at(this.#kernel.now() + inMs, what);
  }

  #bout(factor: number, forMs: number, then: () => void): void {
    this.#factor = factor;
    this.#plan(forMs, {
      happen: () => {
        this.#factor = 1;
        then();
      },
    });
  }

  /** Set when no more requests come: antagonists plan nothing more. */
  stopped = false;
}
