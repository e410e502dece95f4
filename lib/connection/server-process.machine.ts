import { assign, fromCallback, fromPromise, setup } from 'xstate';
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
  /** Starts it; used once. Rejects with what prevents it. */
  readonly launch: () => Promise<Running>;
}

export interface ProcessContext extends ProcessInput {
  readonly launching: Promise<Running> | undefined;
  readonly running: Running | undefined;
  readonly exit: ProcessExit | undefined;
  readonly error: TroupeError | undefined;
}

/** What an in-process server, or one that was never there, ends with. */
const NO_EXIT: ProcessExit = { code: null, signal: null };

/**
 * The life of a server process: used once, from Created to Stopped. The machine causes: `launch`, `watch` and `stop`
 * are actors it invokes; a stop during the start waits for the start, so that nothing is left behind.
 */
export const serverProcessMachine = setup({
  types: {
    context: {} as ProcessContext,
    input: {} as ProcessInput,
    events: {} as
      | { readonly type: 'start' }
      | { readonly type: 'stop' }
      | { readonly type: 'exited'; readonly exit: ProcessExit },
  },
  actors: {
    launch: fromPromise<Running, { launching: Promise<Running> | undefined }>(async ({ input }) => {
      if (input.launching === undefined) throw new TroupeError('internal', 'nothing to launch');
      return input.launching;
    }),
    watch: fromCallback<{ type: 'exited'; exit: ProcessExit }, { running: Running | undefined }>(({ input, sendBack }) => {
      let watching = true;
      void input.running?.exited.then((exit) => {
        if (watching) sendBack({ type: 'exited', exit });
      });
      return () => {
        watching = false;
      };
    }),
    stop: fromPromise<ProcessExit, { launching: Promise<Running> | undefined }>(async ({ input }) => {
      const running = await input.launching?.catch(() => undefined);
      return running === undefined ? NO_EXIT : running.stop();
    }),
  },
}).createMachine({
  id: 'process',
  context: ({ input }) => ({ ...input, launching: undefined, running: undefined, exit: undefined, error: undefined }),
  initial: 'Created',
  states: {
    Created: {
      on: {
        start: {
          target: 'Starting',
          actions: assign(({ context }) => {
            const launching = Promise.resolve().then(() => context.launch());
            // Whoever waits hears of a failure; nobody waiting must not be an unhandled rejection.
            launching.catch(() => {});
            return { launching };
          }),
        },
        stop: { target: 'Stopped', actions: assign({ exit: NO_EXIT }) },
      },
    },
    Starting: {
      invoke: {
        src: 'launch',
        input: ({ context }) => ({ launching: context.launching }),
        onDone: { target: 'Running', actions: assign(({ event }) => ({ running: event.output })) },
        onError: {
          target: 'Stopped',
          actions: assign(({ event }) => ({ error: TroupeError.from(event.error), exit: NO_EXIT })),
        },
      },
      on: { stop: { target: 'Stopping' } },
    },
    Running: {
      invoke: { src: 'watch', input: ({ context }) => ({ running: context.running }) },
      on: {
        stop: { target: 'Stopping' },
        exited: { target: 'Stopped', actions: assign(({ event }) => ({ exit: event.exit })) },
      },
    },
    Stopping: {
      invoke: {
        src: 'stop',
        input: ({ context }) => ({ launching: context.launching }),
        onDone: { target: 'Stopped', actions: assign(({ event }) => ({ exit: event.output })) },
        onError: {
          target: 'Stopped',
          actions: assign(({ event }) => ({ error: TroupeError.from(event.error), exit: NO_EXIT })),
        },
      },
    },
    // Not a final state: what the machine knows of the end is still read.
    Stopped: {},
  },
});
