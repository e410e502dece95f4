import { assign, fromCallback, fromPromise, setup } from 'xstate';
import { TroupeError, freeFrames } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';
import type { Session } from '../mcp/session/session.ts';
import type { Attempt } from './attempt.ts';

/** Judgement of the supervisor: when to try again, and whether at the slowest pace. */
export interface RestartVerdict {
  /** Milliseconds; undefined means: not by itself. */
  readonly delayMs: number | undefined;
  readonly parked: boolean;
}

export interface ConnectionInput {
  /** A fresh opening; never the same object twice. */
  readonly createAttempt: (assumeLegacy: boolean) => Attempt;
  readonly restart: (error: TroupeError) => RestartVerdict;
  /** A session stood: the history of restarts may be forgotten after a while. */
  readonly connected: (session: Session) => void;
}

export interface ConnectionContext extends ConnectionInput {
  readonly attempt: Attempt | undefined;
  /** The attempt before, closed before the present one opens: no two processes of one server at a time. */
  readonly previous: Attempt | undefined;
  readonly session: Session | undefined;
  readonly error: TroupeError | undefined;
  /** Attempts since the last session stood, counted from 1. */
  readonly attempts: number;
  readonly verdict: RestartVerdict | undefined;
  readonly assumeLegacy: boolean;
  readonly reopens: number;
  readonly graceMs: number;
  readonly wanted: boolean;
}

export type ConnectionEvent =
  | { readonly type: 'connect' }
  | { readonly type: 'disconnect'; readonly graceMs: number }
  | { readonly type: 'authorized' }
  | { readonly type: 'lost'; readonly error: TroupeError };

interface Closing {
  readonly attempt: Attempt | undefined;
  readonly previous: Attempt | undefined;
  readonly graceMs: number;
}

function closing({ attempt, previous }: ConnectionContext, graceMs: number): Closing {
  return { attempt, previous, graceMs };
}

/** A stale verdict, a server that ends on the probe: each may ask for one more opening, together for two. */
const MAX_REOPENS = 2;

function asError(value: unknown): TroupeError {
  return TroupeError.from(value);
}

/** Kept by us, and by whoever follows the events: it must not keep the session alive that it tells the end of. */
function kept(value: unknown): TroupeError {
  const error = asError(value);
  freeFrames(error);
  return error;
}

function reopenWanted(error: TroupeError): 'legacy' | 'probe' | undefined {
  const wanted = isJson(error.data) ? error.data['reopen'] : undefined;
  return wanted === 'legacy' || wanted === 'probe' ? wanted : undefined;
}

const isChallenge = (error: unknown): boolean => asError(error).code === 'auth_required';

/**
 * The life of a connection. The machine causes and never mirrors: the actors it invokes open, initialize, watch and
 * close; leaving a state aborts what it invoked, and the next state waits until the old attempt is disposed of.
 */
export const connectionMachine = setup({
  types: {
    context: {} as ConnectionContext,
    events: {} as ConnectionEvent,
    input: {} as ConnectionInput,
  },
  actors: {
    open: fromPromise<void, { attempt: Attempt | undefined; previous: Attempt | undefined }>(
      async ({ input, signal }) => {
        await input.previous?.close(0);
        await input.attempt?.open(signal);
      },
    ),
    initialize: fromPromise<Session, { attempt: Attempt | undefined }>(async ({ input, signal }) => {
      if (input.attempt === undefined) throw new TroupeError('internal', 'no attempt to initialize');
      return input.attempt.initialize(signal);
    }),
    watch: fromCallback<ConnectionEvent, { attempt: Attempt | undefined }>(({ input, sendBack }) =>
      input.attempt?.watch((error) => sendBack({ type: 'lost', error })),
    ),
    close: fromPromise<void, Closing>(async ({ input }) => {
      // A stop while the attempt before was being closed, for this one to open, waits for both.
      await Promise.allSettled([input.attempt?.close(input.graceMs), input.previous?.close(0)]);
    }),
  },
  actions: {
    begin: assign(({ context }) => ({
      attempt: context.createAttempt(context.assumeLegacy),
      previous: context.attempt,
      attempts: context.attempts + 1,
      session: undefined,
      wanted: false,
    })),
    // Closed, it is of no use. The next attempt would hold it, and the one after that would hold both.
    letGo: assign({ attempt: undefined, previous: undefined }),
    keepError: assign((_, params: { error?: unknown } | undefined) =>
      params?.error === undefined ? {} : { error: kept(params.error) },
    ),
    judge: assign(({ context }) => ({
      session: undefined,
      verdict: context.error === undefined ? undefined : context.restart(context.error),
      assumeLegacy: false,
      reopens: 0,
    })),
  },
  guards: {
    challenged: (_, params: { error: unknown }) => isChallenge(params.error),
  },
  delays: {
    backoff: ({ context }) => context.verdict?.delayMs ?? 0,
  },
}).createMachine({
  id: 'connection',
  context: ({ input }) => ({
    ...input,
    attempt: undefined,
    previous: undefined,
    session: undefined,
    error: undefined,
    attempts: 0,
    verdict: undefined,
    assumeLegacy: false,
    reopens: 0,
    graceMs: 0,
    wanted: false,
  }),
  initial: 'Disconnected',
  states: {
    Disconnected: {
      on: { connect: { target: 'Connecting' } },
    },
    Connecting: {
      entry: 'begin',
      invoke: {
        src: 'open',
        input: ({ context }) => ({ attempt: context.attempt, previous: context.previous }),
        onDone: { target: 'Initializing' },
        onError: [
          {
            guard: { type: 'challenged', params: ({ event }) => ({ error: event.error }) },
            target: 'AuthRequired',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: 'Error',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
      on: {
        disconnect: { target: 'Disconnecting', actions: assign(({ event }) => ({ graceMs: event.graceMs })) },
      },
    },
    Initializing: {
      invoke: {
        src: 'initialize',
        input: ({ context }) => ({ attempt: context.attempt }),
        onDone: {
          target: 'Connected',
          actions: assign(({ event }) => ({ session: event.output, error: undefined, verdict: undefined })),
        },
        onError: [
          {
            guard: ({ context, event }) =>
              context.reopens < MAX_REOPENS && reopenWanted(asError(event.error)) !== undefined,
            target: 'Connecting',
            actions: assign(({ context, event }) => ({
              assumeLegacy: reopenWanted(asError(event.error)) === 'legacy',
              reopens: context.reopens + 1,
              attempts: context.attempts - 1,
            })),
          },
          {
            guard: { type: 'challenged', params: ({ event }) => ({ error: event.error }) },
            target: 'AuthRequired',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: 'Error',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
      on: {
        disconnect: { target: 'Disconnecting', actions: assign(({ event }) => ({ graceMs: event.graceMs })) },
      },
    },
    Connected: {
      entry: [
        assign({ attempts: 0, assumeLegacy: false, reopens: 0 }),
        ({ context }) => {
          if (context.session !== undefined) context.connected(context.session);
        },
      ],
      invoke: { src: 'watch', input: ({ context }) => ({ attempt: context.attempt }) },
      on: {
        lost: [
          {
            guard: { type: 'challenged', params: ({ event }) => ({ error: event.error }) },
            target: 'AuthRequired',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: 'Error',
            actions: { type: 'keepError', params: ({ event }) => ({ error: event.error }) },
          },
        ],
        disconnect: { target: 'Disconnecting', actions: assign(({ event }) => ({ graceMs: event.graceMs })) },
      },
    },
    Disconnecting: {
      invoke: {
        src: 'close',
        input: ({ context }) => closing(context, context.graceMs),
        onDone: { target: 'Disconnected' },
        onError: { target: 'Disconnected' },
      },
      exit: assign({
        session: undefined,
        attempt: undefined,
        previous: undefined,
        attempts: 0,
        error: undefined,
        verdict: undefined,
      }),
    },
    Error: {
      entry: 'judge',
      initial: 'releasing',
      on: {
        disconnect: { target: 'Disconnecting', actions: assign(({ event }) => ({ graceMs: event.graceMs })) },
      },
      states: {
        // The old process tree is gone before a new one may start.
        releasing: {
          invoke: {
            src: 'close',
            input: ({ context }) => closing(context, 0),
            onDone: { target: 'released', actions: 'letGo' },
            onError: { target: 'released', actions: 'letGo' },
          },
          on: { connect: { actions: assign({ wanted: true }) } },
        },
        released: {
          always: [
            { guard: ({ context }) => context.wanted, target: '#connection.Connecting' },
            { guard: ({ context }) => context.verdict?.delayMs !== undefined, target: 'waiting' },
          ],
          on: { connect: { target: '#connection.Connecting' } },
        },
        waiting: {
          after: { backoff: { target: '#connection.Connecting' } },
          on: { connect: { target: '#connection.Connecting' } },
        },
      },
    },
    AuthRequired: {
      entry: assign({ session: undefined, assumeLegacy: false, reopens: 0 }),
      initial: 'releasing',
      on: {
        disconnect: { target: 'Disconnecting', actions: assign(({ event }) => ({ graceMs: event.graceMs })) },
      },
      states: {
        releasing: {
          invoke: {
            src: 'close',
            input: ({ context }) => closing(context, 0),
            onDone: { target: 'waiting', actions: 'letGo' },
            onError: { target: 'waiting', actions: 'letGo' },
          },
          on: { authorized: { actions: assign({ wanted: true }) } },
        },
        waiting: {
          always: { guard: ({ context }) => context.wanted, target: '#connection.Connecting' },
          on: { authorized: { target: '#connection.Connecting' } },
        },
      },
    },
  },
});
