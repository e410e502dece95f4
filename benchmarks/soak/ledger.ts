import { isTroupeError, type Engine, type Json } from '../../lib/index.ts';
import { createLatencies, type Latencies } from './latencies.ts';

/** One server as the load sees it. */
export interface Target {
  readonly name: string;
  readonly tool: string;
  readonly healthy: boolean;
  readonly timeoutMs: number;
}

export type Phase = 'before' | 'faults' | 'after';

interface Call {
  readonly target: Target;
  readonly nonce: string;
  readonly startedAt: number;
  readonly phase: Phase;
  /** Handed over at once, as far as one can tell: the connection stood and the breaker was closed. */
  readonly handedOver: boolean;
  /** When the process that has it was seen to be gone. */
  goneAt: number | undefined;
}

/** Younger calls may not have been written when the process ended, milliseconds. */
const SURELY_WRITTEN_MS = 20;

/** Every call and how it ended. Its size does not grow with the number of calls. */
export class Ledger {
  readonly #engine: Engine;
  readonly #underWay = new Set<Call>();
  readonly #isWell: (server: string) => boolean;
  readonly #lagSince: (at: number) => number;
  invoked = 0;
  settled = 0;
  /** Settled although it was not under way. */
  settledAgain = 0;
  wrongReplies = 0;
  /** Largest time beyond the deadline, milliseconds: by the clock, and without the lag of the event loop. */
  overDeadlineByClock = 0;
  overDeadline = 0;
  /** The same from the end of a process until a call that it had failed: the longest; and of how many. */
  lossByClock = 0;
  loss = 0;
  lossCalls = 0;
  healthyFailures = 0;
  readonly healthyErrors: string[] = [];
  readonly errors = new Map<string, number>();
  readonly succeeded = { healthy: 0, faulty: 0 };
  readonly latencies: Readonly<Record<Phase, Latencies>> = {
    before: createLatencies(),
    faults: createLatencies(),
    after: createLatencies(),
  };

  constructor(engine: Engine, isWell: (server: string) => boolean, lagSince: (at: number) => number) {
    this.#engine = engine;
    this.#isWell = isWell;
    this.#lagSince = lagSince;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  call(target: Target, phase: Phase): void {
    const call: Call = {
      target,
      nonce: `${target.name}/${this.invoked}`,
      startedAt: performance.now(),
      phase,
      handedOver: this.#isWell(target.name),
      goneAt: undefined,
    };
    this.invoked += 1;
    this.#underWay.add(call);
    this.#engine.callTool(target.tool, { message: call.nonce }, { timeoutMs: target.timeoutMs }).then(
      (result) => this.#settle(call, result, undefined),
      (error: unknown) => this.#settle(call, undefined, error),
    );
  }

  /** The process of a server is gone: what it had must fail now. */
  gone(server: string): void {
    const now = performance.now();
    for (const call of this.#underWay) {
      if (call.target.name !== server || !call.handedOver || call.goneAt !== undefined) continue;
      if (now - call.startedAt < SURELY_WRITTEN_MS) continue;
      call.goneAt = now;
    }
  }

  #settle(call: Call, result: Json | undefined, error: unknown): void {
    const now = performance.now();
    const elapsed = now - call.startedAt;
    const { target } = call;
    this.settled += 1;
    if (!this.#underWay.delete(call)) this.settledAgain += 1;
    const over = elapsed - target.timeoutMs;
    if (over > 0) {
      const late = over - this.#lagSince(call.startedAt + target.timeoutMs);
      this.overDeadlineByClock = Math.max(this.overDeadlineByClock, over);
      this.overDeadline = Math.max(this.overDeadline, late);
    }
    // One that succeeds, was never sent or was asked again did not reach the process: it waited for the next.
    if (
      call.goneAt !== undefined &&
      isTroupeError(error) &&
      error.delivery === 'sent' &&
      error.attempt === 1
    ) {
      const loss = now - call.goneAt - this.#lagSince(call.goneAt);
      this.lossByClock = Math.max(this.lossByClock, now - call.goneAt);
      this.loss = Math.max(this.loss, loss);
      this.lossCalls += 1;
    }
    if (target.healthy) this.latencies[call.phase].record(elapsed);
    if (error === undefined) {
      if (textOf(result) !== call.nonce) this.wrongReplies += 1;
      this.succeeded[target.healthy ? 'healthy' : 'faulty'] += 1;
      return;
    }
    const code = isTroupeError(error) ? error.code : errorText(error);
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    if (!target.healthy) return;
    this.healthyFailures += 1;
    if (this.healthyErrors.length < 5) this.healthyErrors.push(errorText(error));
  }
}

export function textOf(result: Json | undefined): unknown {
  return (result as { content?: ReadonlyArray<{ text?: unknown }> } | undefined)?.content?.[0]?.text;
}

function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error);
}
