import { fromPromise, setup } from 'xstate';

export interface SupervisorInput {
  /** Begins with every connection and resolves when each has stood or failed once. */
  readonly startAll: (signal: AbortSignal) => Promise<void>;
  /** Ends every connection, in reverse order. */
  readonly stopAll: () => Promise<void>;
}

/**
 * Starting and stopping of the whole: Idle → Starting → Running → Stopping → Stopped. A stop during the start ends it;
 * nothing leads back from Stopped.
 */
export const supervisorMachine = setup({
  types: {
    context: {} as SupervisorInput,
    input: {} as SupervisorInput,
    events: {} as { readonly type: 'start' } | { readonly type: 'stop' },
  },
  actors: {
    startAll: fromPromise<void, SupervisorInput>(({ input, signal }) => input.startAll(signal)),
    stopAll: fromPromise<void, SupervisorInput>(({ input }) => input.stopAll()),
  },
}).createMachine({
  id: 'supervisor',
  context: ({ input }) => input,
  initial: 'Idle',
  states: {
    Idle: { on: { start: { target: 'Starting' }, stop: { target: 'Stopping' } } },
    Starting: {
      invoke: {
        src: 'startAll',
        input: ({ context }) => context,
        onDone: { target: 'Running' },
        onError: { target: 'Running' },
      },
      on: { stop: { target: 'Stopping' } },
    },
    Running: { on: { stop: { target: 'Stopping' } } },
    Stopping: {
      invoke: {
        src: 'stopAll',
        input: ({ context }) => context,
        onDone: { target: 'Stopped' },
        onError: { target: 'Stopped' },
      },
    },
    Stopped: { type: 'final' },
  },
});
