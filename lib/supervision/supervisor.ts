import { createActor, type Actor } from 'xstate';
import type { Connection } from '../connection/connection.ts';
import type { Clock } from '../core/clock.ts';
import { Pace } from '../core/pace.ts';
import { supervisorMachine } from './supervisor.machine.ts';

/** What the supervisor knows of a server: its connections, and whether it is to be started at all. */
export interface Member {
  readonly config: { readonly lazy: boolean };
  readonly replicas: ReadonlyArray<{ readonly connection: Connection }>;
  /** Connects what rests, as far as there is room for it. */
  wake(): void;
  stop(graceMs: number): Promise<void>;
}

export interface SupervisorOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** In order of declaration. */
  readonly members: () => readonly Member[];
  /** After the last connection has ended. */
  readonly onStopped: () => void | Promise<void>;
}

/** Starts in order, stops in reverse; one member that hangs or dies delays and breaks no other. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #actor: Actor<typeof supervisorMachine>;
  #graceMs = 0;
  /** Read by every request: a field, since asking the actor for its state costs a microsecond. */
  #phase: 'Idle' | 'Starting' | 'Running' | 'Stopping' | 'Stopped' = 'Idle';

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#actor = createActor(supervisorMachine, {
      input: { startAll: () => this.#startAll(), stopAll: () => this.#stopAll() },
    });
    this.#actor.subscribe({
      next: (snapshot) => {
        this.#phase = snapshot.value;
      },
      error: () => {},
    });
    this.#actor.start();
  }

  get running(): boolean {
    return this.#phase === 'Starting' || this.#phase === 'Running';
  }

  get stopping(): boolean {
    return this.#phase === 'Stopping' || this.#phase === 'Stopped';
  }

  /** Resolves when every member that is not lazy has stood or failed once; also when a stop comes in between. */
  async start(): Promise<void> {
    this.#actor.send({ type: 'start' });
    await this.#until((snapshot) => !snapshot.matches('Starting'));
  }

  /** Idempotent: a second call waits for the first. */
  async stop(graceMs: number): Promise<void> {
    if (!this.stopping) {
      this.#graceMs = graceMs;
      this.#actor.send({ type: 'stop' });
    }
    await this.#until((snapshot) => snapshot.matches('Stopped'));
  }

  /** Starts one member and resolves when it has stood or failed once. */
  async begin(member: Member): Promise<void> {
    member.wake();
    await this.settled(member);
  }

  async settled(member: Member): Promise<void> {
    await Promise.all(
      member.replicas.map(({ connection }) =>
        connection.settled(
          (state) => state !== 'Connecting' && state !== 'Initializing' && state !== 'Disconnecting',
        ),
      ),
    );
  }

  /** Of very many, others get their turn in between; what was removed or stopped meanwhile is not started. */
  async #startAll(): Promise<void> {
    const { clock, members } = this.#options;
    const begun: Promise<void>[] = [];
    let present: ReadonlySet<Member> = new Set(members());
    const pace = new Pace(() => clock.now());
    for (const member of present) {
      if (pace.spent) {
        await pace.nextTurn();
        present = new Set(members());
      }
      if (this.stopping) break;
      if (present.has(member) && !member.config.lazy) begun.push(this.begin(member));
    }
    await Promise.all(begun);
  }

  /** Reverse order of declaration: each is told to end before the one declared earlier, all share the same time. */
  async #stopAll(): Promise<void> {
    const members = this.#options.members().toReversed();
    await Promise.allSettled(members.map((member) => member.stop(this.#graceMs)));
    await this.#options.onStopped();
  }

  #until(
    accept: (snapshot: ReturnType<Actor<typeof supervisorMachine>['getSnapshot']>) => boolean,
  ): Promise<void> {
    if (accept(this.#actor.getSnapshot())) return Promise.resolve();
    return new Promise((resolve) => {
      const subscription = this.#actor.subscribe({
        next: (snapshot) => {
          if (!accept(snapshot)) return;
          subscription.unsubscribe();
          resolve();
        },
        complete: resolve,
        error: () => resolve(),
      });
    });
  }
}
