import { createActor, type Actor } from 'xstate';
import { TroupeError } from '../core/errors.ts';
import type { ProcessState } from '../core/events.ts';
import { serverProcessMachine, type ProcessExit, type Running } from './server-process.machine.ts';

/** The handle of one server process: a child process or an in-process server, used once. */
export class ServerProcess {
  readonly #actor: Actor<typeof serverProcessMachine>;
  readonly #listeners = new Set<(state: ProcessState) => void>();
  #state: ProcessState = 'Created';

  constructor(launch: () => Promise<Running>) {
    this.#actor = createActor(serverProcessMachine, { input: { launch } });
    this.#actor.subscribe({
      next: ({ value }) => this.#moved(value),
      // A defect of the actor is not the host's uncaught exception; the process then counts as ended.
      error: () => this.#moved('Stopped'),
    });
    this.#actor.start();
  }

  get state(): ProcessState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#actor.getSnapshot().context.running?.pid;
  }

  get exit(): ProcessExit | undefined {
    return this.#actor.getSnapshot().context.exit;
  }

  /** Every transition, once and in order. Returns the end of it. A listener that throws harms nobody. */
  subscribe(listener: (state: ProcessState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Starts it; rejects with what prevented it, or `stopped` when it was stopped meanwhile. */
  async start(): Promise<Running> {
    this.#actor.send({ type: 'start' });
    await this.#until((state) => state !== 'Starting');
    const { running, error } = this.#actor.getSnapshot().context;
    // One that has ended again meanwhile did start; `exited` says so.
    if (running !== undefined && this.#state !== 'Stopping') return running;
    throw error ?? new TroupeError('stopped', 'the process was stopped while it started');
  }

  /** Ends it with everything it started; resolves when it is gone. Idempotent. */
  async stop(): Promise<void> {
    this.#actor.send({ type: 'stop' });
    await this.#until((state) => state === 'Stopped');
    // A process that ended by itself may have left others behind in its group.
    await this.#actor
      .getSnapshot()
      .context.running?.stop()
      .catch(() => {});
  }

  #moved(state: ProcessState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const tell of this.#listeners) {
      try {
        tell(state);
      } catch {
        // An observer that throws would become an uncaught exception of the host.
      }
    }
  }

  #until(accept: (state: ProcessState) => boolean): Promise<void> {
    if (accept(this.#state)) return Promise.resolve();
    return new Promise((resolve) => {
      const end = this.subscribe((state) => {
        if (!accept(state)) return;
        end();
        resolve();
      });
    });
  }
}
