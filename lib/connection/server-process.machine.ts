import { assign, fromPromise, setup } from 'xstate';
import { TroupeError } from '../core/errors.ts';

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** Something that runs: a child process, or an in-process server. */
export interface Running {
  readonly pid: number | undefined;
  /** Resolves once it has ended, by itself or not. */
  readonly exited: Promise<ProcessExit>;
  /** Ends it, and everything it started. Idempotent. */
  stop(): Promise<ProcessExit>;
}

export interface ProcessInput {
  /** Starts it; called once at most. Rejects with what prevents it. */
  readonly launch: () => Promise<Running>;
}

export interface ProcessContext {
  readonly life: Life;
  readonly running: Running | undefined;
  readonly exit: ProcessExit | undefined;
  readonly error: TroupeError | undefined;
}

/** What an in-process server, or one that was never there, ends with. */
const NO_EXIT: ProcessExit = { code: null, signal: null };

/**
 * What the invoked actors share. Leaving a state abandons its actor but not what that has begun: a stop during the
 * start needs the launch that is under way.
 */
class Life {
  readonly #start: () => Promise<Running>;
  #launching: Promise<Running> | undefined;

  constructor(start: () => Promise<Running>) {
    this.#start = start;
  }

  launch(): Promise<Running> {
    this.#launching ??= this.#start();
    return this.#launching;
  }

  async exited(): Promise<ProcessExit> {
    return (await this.launch()).exited;
  }

  async stop(): Promise<ProcessExit> {
    const running = await this.#launching?.catch(() => undefined);
    return running === undefined ? NO_EXIT : running.stop();
  }
}

const errorOf = ({ event }: { readonly event: { readonly error: unknown } }): TroupeError =>
  TroupeError.from(event.error);

/**
 * The life of a server process, or of a server in this process: used once, from Created to Stopped. The machine causes
 * and never mirrors: `launch`, `watch` and `stop` are actors it invokes. A stop during the start waits for the start,
 * so that nothing is left behind. Every actor has its `onError`: one that none handles would end the host.
 */
export const serverProcessMachine = setup({
  types: {
    context: {} as ProcessContext,
    input: {} as ProcessInput,
    events: {} as { readonly type: 'start' } | { readonly type: 'stop' },
  },
  actors: {
    launch: fromPromise<Running, Life>(async ({ input }) => input.launch()),
    watch: fromPromise<ProcessExit, Life>(async ({ input }) => input.exited()),
    stop: fromPromise<ProcessExit, Life>(async ({ input }) => input.stop()),
  },
}).createMachine({
  id: 'process',
  context: ({ input }) => ({
    life: new Life(input.launch),
    running: undefined,
    exit: undefined,
    error: undefined,
  }),
  initial: 'Created',
  states: {
    Created: {
      on: {
        start: { target: 'Starting' },
        stop: { target: 'Stopped', actions: assign({ exit: NO_EXIT }) },
      },
    },
    Starting: {
      invoke: {
        src: 'launch',
        input: ({ context }) => context.life,
        onDone: { target: 'Running', actions: assign(({ event }) => ({ running: event.output })) },
        onError: { target: 'Stopped', actions: assign({ error: errorOf, exit: NO_EXIT }) },
      },
      on: { stop: { target: 'Stopping' } },
    },
    Running: {
      invoke: {
        src: 'watch',
        input: ({ context }) => context.life,
        onDone: { target: 'Stopped', actions: assign(({ event }) => ({ exit: event.output })) },
        onError: { target: 'Stopped', actions: assign({ error: errorOf, exit: NO_EXIT }) },
      },
      on: { stop: { target: 'Stopping' } },
    },
    Stopping: {
      invoke: {
        src: 'stop',
        input: ({ context }) => context.life,
        onDone: { target: 'Stopped', actions: assign(({ event }) => ({ exit: event.output })) },
        onError: { target: 'Stopped', actions: assign({ error: errorOf, exit: NO_EXIT }) },
      },
    },
    // Not a final state: what the machine knows of the end is still read.
    Stopped: {},
  },
});
