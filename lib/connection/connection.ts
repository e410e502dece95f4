import { createActor, type Actor, type SnapshotFrom } from 'xstate';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { ConnectionState } from '../core/events.ts';
import type { Session, SessionObserver } from '../mcp/session/session.ts';
import type { Attempt } from './attempt.ts';
import { connectionMachine, type RestartVerdict } from './connection.machine.ts';

export interface ConnectionChange {
  readonly from: ConnectionState;
  readonly to: ConnectionState;
  readonly attempt: number;
  readonly error: TroupeError | undefined;
  readonly retryInMs: number | undefined;
  readonly parked: boolean;
}

export interface ConnectionOptions {
  /** `server`, `server#replica` or `server#replica@scope`. */
  readonly id: string;
  readonly server: string;
  readonly clock: Clock;
  readonly createAttempt: (assumeLegacy: boolean) => Attempt;
  readonly restart: (error: TroupeError) => RestartVerdict;
  /** Every transition, once and in order. */
  readonly onChange: (change: ConnectionChange) => void;
  /** A session stands; the answer is who listens to it. */
  readonly onSession: (session: Session) => Omit<SessionObserver, 'onLost'>;
}

/**
 * A durable connection: one per replica and credential scope. It owns the actor; sessions come and go. The request
 * path reads `session` and never sends a message to the actor and waits.
 */
export class Connection {
  readonly id: string;
  readonly server: string;
  readonly #options: ConnectionOptions;
  readonly #actor: Actor<typeof connectionMachine>;
  #state: ConnectionState = 'Disconnected';
  #since: number;
  /** Monotonic, milliseconds. */
  #movedAt: number;
  #wakeWhenClosed = false;
  #restarts = 0;
  #waiters: Array<() => void> = [];
  #latest: Attempt | undefined;
  readonly #resting = new Set<Attempt>();
  /** A defect of ours has ended the actor: what is left of the connection can only be put away. */
  #fault: TroupeError | undefined;

  constructor(options: ConnectionOptions) {
    const { clock } = options;
    this.id = options.id;
    this.server = options.server;
    this.#options = options;
    this.#since = clock.wallTime();
    this.#movedAt = clock.now();
    this.#actor = createActor(connectionMachine, {
      clock: xstateClock(clock),
      input: {
        createAttempt: (assumeLegacy) => {
          const attempt = options.createAttempt(assumeLegacy);
          this.#keepRest(this.#latest);
          this.#latest = attempt;
          return attempt;
        },
        restart: options.restart,
        connected: (session) => {
          const attempt = this.#latest;
          const observer = options.onSession(session);
          session.observe({ ...observer, onLost: (error) => attempt?.reportLost(error) });
        },
      },
    });
    this.#actor.subscribe({
      next: (snapshot) => this.#moved(snapshot),
      // A defect of ours in the actor must not reach the host as an uncaught exception: it is an error of this connection.
      error: (error) => this.#broken(error),
    });
    this.#actor.start();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Wall time of the last transition, milliseconds. */
  get since(): number {
    return this.#since;
  }

  /** The open session; undefined unless Connected. */
  get session(): Session | undefined {
    return this.#state === 'Connected' ? this.#actor.getSnapshot().context.session : undefined;
  }

  get error(): TroupeError | undefined {
    return this.#fault ?? this.#actor.getSnapshot().context.error;
  }

  get attempt(): number {
    return this.#actor.getSnapshot().context.attempts;
  }

  get parked(): boolean {
    if (this.#state !== 'Error') return false;
    return this.#fault !== undefined || this.#actor.getSnapshot().context.verdict?.parked === true;
  }

  /** Restarts after a failure since the connection was made. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Until the next attempt that it makes by itself, milliseconds; undefined where it waits for none. */
  get retryInMs(): number | undefined {
    if (this.#state !== 'Error' || this.#fault !== undefined) return undefined;
    const { verdict } = this.#actor.getSnapshot().context;
    if (verdict?.delayMs === undefined || verdict.parked) return undefined;
    return Math.max(0, verdict.delayMs - (this.#options.clock.now() - this.#movedAt));
  }

  /** Whether it is expected to be Connected soon without anybody doing anything; of a parked one nobody expects it. */
  get willConnect(): boolean {
    if (this.#fault !== undefined) return false;
    if (this.#state === 'Connecting' || this.#state === 'Initializing') return true;
    const { verdict } = this.#actor.getSnapshot().context;
    return this.#state === 'Error' && verdict?.delayMs !== undefined && !verdict.parked;
  }

  /** Begins to connect, or does so at once instead of after the backoff. Does nothing when already under way. */
  wake(): void {
    if (this.#fault !== undefined) return;
    if (this.#state === 'Disconnecting') this.#wakeWhenClosed = true;
    else this.#actor.send({ type: 'connect' });
  }

  /** The present session serves no longer, although its channel may live: it is ended and opened anew. */
  lost(error: TroupeError): void {
    this.#actor.send({ type: 'lost', error });
  }

  /** New credentials are there. */
  authorized(): void {
    this.#actor.send({ type: 'authorized' });
  }

  /** Lets pending work finish for at most `graceMs`, then ends it. Resolves when Disconnected. */
  async disconnect(graceMs: number): Promise<void> {
    this.#wakeWhenClosed = false;
    if (this.#fault !== undefined) this.#putAway(graceMs);
    else if (this.#state !== 'Disconnected') this.#actor.send({ type: 'disconnect', graceMs });
    await this.settled((state) => state === 'Disconnected');
    this.#keepRest(this.#latest);
    await Promise.all([...this.#resting].map((attempt) => attempt.endRest(graceMs)));
  }

  /** Attempts of which something is still under way are closed, but not over. */
  #keepRest(attempt: Attempt | undefined): void {
    if (attempt?.rest === undefined) return;
    this.#resting.add(attempt);
    void attempt.rest.finally(() => this.#resting.delete(attempt));
  }

  /** Resolves when `accept` holds for the state, now or later. */
  async settled(accept: (state: ConnectionState) => boolean): Promise<void> {
    while (!accept(this.#state)) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }

  /** Resolves with the next transition. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  /** Ends the actor; only after `disconnect`. */
  dispose(): void {
    this.#actor.stop();
  }

  #moved(snapshot: SnapshotFrom<typeof connectionMachine>): void {
    const to = topState(snapshot.value);
    if (to === this.#state) return;
    if (this.#state === 'Error' && to === 'Connecting') this.#restarts += 1;
    const { context } = snapshot;
    this.#move(to, {
      error: to === 'Error' || to === 'AuthRequired' ? context.error : undefined,
      retryInMs: to === 'Error' ? context.verdict?.delayMs : undefined,
      parked: to === 'Error' && context.verdict?.parked === true,
    });
    if (to === 'Disconnected' && this.#wakeWhenClosed) {
      this.#wakeWhenClosed = false;
      // After this transition has been told to everyone: each is observed once, in order.
      queueMicrotask(() => this.#actor.send({ type: 'connect' }));
    }
  }

  #move(to: ConnectionState, facts: Pick<ConnectionChange, 'error' | 'retryInMs' | 'parked'>): void {
    const from = this.#state;
    this.#state = to;
    this.#since = this.#options.clock.wallTime();
    this.#movedAt = this.#options.clock.now();
    this.#options.onChange({ from, to, attempt: this.attempt, ...facts });
    this.#wakeWaiters();
  }

  #wakeWaiters(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #broken(cause: unknown): void {
    const { id, server } = this;
    const error = new TroupeError('internal', 'the connection actor failed', {
      server,
      connection: id,
      cause,
    });
    this.#fault = error;
    // Nobody else does: the actors it had invoked are gone with it.
    void this.#latest?.close(0).catch(() => {});
    if (this.#state === 'Error') this.#wakeWaiters();
    else this.#move('Error', { error, retryInMs: undefined, parked: true });
  }

  #putAway(graceMs: number): void {
    if (this.#state !== 'Error') return;
    const quiet = { error: undefined, retryInMs: undefined, parked: false };
    this.#move('Disconnecting', quiet);
    const gone = this.#latest?.close(graceMs) ?? Promise.resolve();
    void gone.catch(() => {}).then(() => this.#move('Disconnected', quiet));
  }
}

function topState(value: unknown): ConnectionState {
  return (typeof value === 'string' ? value : Object.keys(value as object)[0]) as ConnectionState;
}

/**
 * XState's timers on our clock, so that backoff runs on virtual time in tests. They keep the host running, as the process
 * or socket does that they stand in for: a host that waits for a lost server must not end in the middle of a backoff.
 */
function xstateClock(clock: Clock): {
  setTimeout: (fn: () => void, ms: number) => number;
  clearTimeout: (id: number) => void;
} {
  const armed = new Map<number, () => void>();
  let next = 1;
  return {
    setTimeout(fn, ms) {
      const id = next++;
      const disarm = clock.after(ms, () => {
        armed.delete(id);
        fn();
      });
      armed.set(id, disarm);
      return id;
    },
    clearTimeout(id) {
      armed.get(id)?.();
      armed.delete(id);
    },
  };
}
