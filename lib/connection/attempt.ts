import { Cancellation } from '../core/cancellation.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';
import type { Channel } from '../mcp/wire/channel.ts';
import { openSession, type OpenOptions } from '../mcp/session/open.ts';
import type { Session } from '../mcp/session/session.ts';
import { Wire } from '../mcp/wire/wire.ts';

/** The way to a server, made anew for each attempt. */
export interface Link {
  /** Starts what has to be started (a process, an in-process server) and gives the channel to it, unopened. */
  connect(cancellation: Cancellation): Promise<Channel>;
  /** Ends what `connect` started, process trees included. Idempotent; resolves when it is gone. */
  release(graceMs: number): Promise<void>;
}

/** Bounds how many openings are under way at once. */
export interface StartGate {
  /** Resolves with the function that gives the place back. */
  enter(cancellation: Cancellation): Promise<() => void>;
}

export interface AttemptOptions extends Omit<
  OpenOptions,
  'wire' | 'cancellation' | 'assumeLegacy' | 'timeoutMs'
> {
  readonly link: Link;
  readonly server: string;
  readonly connection: string;
  readonly assumeLegacy: boolean;
  /** From the start of the process to the end of the handshake, milliseconds; waiting for the start gate does not count. */
  readonly startTimeoutMs: number;
  readonly gate: StartGate;
  readonly clock: Clock;
}

/** One opening of a connection, from process to session. Used once; whatever it started, `close` ends. */
export class Attempt {
  readonly #options: AttemptOptions;
  readonly #cancellation = new Cancellation();
  #wire: Wire | undefined;
  #session: Session | undefined;
  #disarm: (() => void) | undefined;
  #leaveGate: (() => void) | undefined;
  #phase: 'Connecting' | 'Initializing' = 'Connecting';
  #closing: Promise<void> | undefined;
  #rest: Promise<void> | undefined;
  #opening: Promise<void> | undefined;
  #lost: ((error: TroupeError) => void) | undefined;
  /** Reported before anybody watched. */
  #reported: TroupeError | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
  }

  /** Starts the process, opens the channel. */
  open(signal: AbortSignal): Promise<void> {
    this.#opening = this.#abortable(signal, () => this.#open());
    return this.#opening;
  }

  /** Negotiates and opens the session. */
  initialize(signal: AbortSignal): Promise<Session> {
    this.#phase = 'Initializing';
    return this.#abortable(signal, () => this.#initialize());
  }

  /** Calls `lost` once when the session has ended by itself. Returns the end of the watch. */
  watch(lost: (error: TroupeError) => void): () => void {
    this.#lost = lost;
    const cause = this.#wire?.closeCause ?? this.#reported;
    if (cause !== undefined) lost(cause);
    return () => {
      this.#lost = undefined;
    };
  }

  /** Told by whoever observes the session. */
  reportLost(error: TroupeError): void {
    if (this.#lost === undefined) this.#reported ??= error;
    else this.#lost(error);
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  /** What goes on after `close`: requests of a lost session that may still be answered. Undefined: nothing. */
  get rest(): Promise<void> | undefined {
    return this.#rest;
  }

  /** Gives that no more than so much time. */
  endRest(graceMs: number): Promise<void> {
    if (this.#rest !== undefined) void this.#session?.close(graceMs);
    return this.#rest ?? Promise.resolve();
  }

  async #open(): Promise<void> {
    const { link, gate, clock, startTimeoutMs, server, connection } = this.#options;
    const leave = await gate.enter(this.#cancellation);
    // Ended between the turn and our hearing of it: `close` has looked for a place to give back and found none yet.
    if (this.#cancellation.cancelled) leave();
    this.#cancellation.throwIfCancelled();
    this.#leaveGate = leave;
    this.#disarm = clock.after(startTimeoutMs, () => this.#cancellation.cancel(this.#tooLate()));
    const wait = this.#cancellation.waiting();
    try {
      const channel = await Promise.race([link.connect(this.#cancellation), wait.promise]);
      this.#cancellation.throwIfCancelled();
      const wire = new Wire(channel, { server, connection, clock });
      this.#wire = wire;
      await Promise.race([wire.open(), wait.promise]);
    } finally {
      wait.done();
    }
  }

  async #initialize(): Promise<Session> {
    const wire = this.#wire;
    if (wire === undefined)
      throw new TroupeError('internal', 'initialize before open', { server: this.#options.server });
    const { startTimeoutMs } = this.#options;
    const session = await openSession({
      ...this.#options,
      wire,
      timeoutMs: startTimeoutMs,
      cancellation: this.#cancellation,
    });
    this.#session = session;
    this.#settled();
    return session;
  }

  async #abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const onAbort = (): void =>
      this.#cancellation.cancel(
        new TroupeError('stopped', 'the connection was ended', { server: this.#options.server }),
      );
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await work();
    } catch (error) {
      const { server, connection } = this.#options;
      const told = asksToReopen(error) ? error : (this.#cancellation.reason ?? error);
      throw TroupeError.from(told, { server, connection }).with({
        server,
        connection,
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #close(graceMs: number): Promise<void> {
    const { clock, link } = this.#options;
    const started = clock.now();
    this.#settled();
    this.#cancellation.cancel(
      new TroupeError('stopped', 'the connection was ended', { server: this.#options.server }),
    );
    await this.#opening?.catch(() => {});
    if (this.#session?.retired === true) {
      // It holds nobody up, and nothing of it is in the way of the next one.
      const rest = this.#session.close(graceMs).finally(() => void link.release(0));
      this.#rest = rest
        .catch(() => {})
        .finally(() => {
          this.#rest = undefined;
        });
      return;
    }
    try {
      await (this.#session === undefined
        ? this.#wire?.channel.close(Math.min(graceMs, 100))
        : this.#session.close(graceMs));
    } finally {
      // A transport that fails to close leaves no process behind.
      await link.release(Math.max(0, graceMs - (clock.now() - started)));
    }
  }

  #settled(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    this.#leaveGate?.();
    this.#leaveGate = undefined;
  }

  #tooLate(): TroupeError {
    const { server, connection, startTimeoutMs } = this.#options;
    const what = this.#phase === 'Connecting' ? 'open' : 'finish initialize';
    return new TroupeError(
      'deadline_exceeded',
      `server "${server}" did not ${what} in ${startTimeoutMs / 1000} s (${this.#phase})`,
      {
        server,
        connection,
      },
    );
  }
}

function asksToReopen(error: unknown): boolean {
  return isTroupeError(error) && isJson(error.data) && error.data['reopen'] !== undefined;
}
