import { describe, expect, it } from '@jest/globals';
import type { AnyStateNode } from 'xstate';
import { getAdjacencyMap } from 'xstate/graph';
import type { Attempt } from '../../lib/connection/attempt.ts';
import { connectionMachine, type ConnectionEvent } from '../../lib/connection/connection.machine.ts';
import { CONNECTION_TRANSITIONS } from '../../lib/connection/transitions.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { ConnectionState } from '../../lib/core/events.ts';
import type { Session } from '../../lib/mcp/session/session.ts';

const session = { fake: true } as unknown as Session;
const attempt = { fake: true } as unknown as Attempt;
const input = {
  createAttempt: () => attempt,
  restart: () => ({ delayMs: 500, parked: false }),
  connected: () => {},
};
const lost = new TroupeError('connection_lost', 'gone');
const challenged = new TroupeError('auth_required', 'who are you');
const reopen = new TroupeError('connection_lost', 'ends on the probe', { data: { reopen: 'legacy' } });

/** What the invoked actors and timers can say, beside the events from outside. Names are XState's own. */
const events = [
  { type: 'connect' },
  { type: 'disconnect', graceMs: 0 },
  { type: 'authorized' },
  { type: 'lost', error: lost },
  { type: 'lost', error: challenged },
  { type: 'xstate.done.actor.0.connection.Connecting', output: undefined },
  { type: 'xstate.error.actor.0.connection.Connecting', error: lost },
  { type: 'xstate.error.actor.0.connection.Connecting', error: challenged },
  { type: 'xstate.done.actor.0.connection.Initializing', output: session },
  { type: 'xstate.error.actor.0.connection.Initializing', error: lost },
  { type: 'xstate.error.actor.0.connection.Initializing', error: reopen },
  { type: 'xstate.error.actor.0.connection.Initializing', error: challenged },
  { type: 'xstate.done.actor.0.connection.Disconnecting', output: undefined },
  { type: 'xstate.done.actor.0.connection.Error.releasing', output: undefined },
  { type: 'xstate.done.actor.0.connection.AuthRequired.releasing', output: undefined },
  { type: 'xstate.after.backoff.connection.Error.waiting' },
] as unknown as ConnectionEvent[];

/** The transition table's word for an event of the machine, in the state it happens in. */
function word(from: ConnectionState, event: { type: string; error?: unknown }, to: ConnectionState): string {
  if (event.type.startsWith('xstate.after')) return 'retry';
  if (to === 'AuthRequired') return 'challenged';
  if (event.type.startsWith('xstate.error')) return to === 'Connecting' ? 'reopened' : 'failed';
  if (event.type.startsWith('xstate.done')) {
    if (from === 'Error') return 'connect';
    if (from === 'AuthRequired') return 'authorized';
    return (
      { Connecting: 'opened', Initializing: 'initialized', Disconnecting: 'closed' }[from as string] ??
      event.type
    );
  }
  return event.type;
}

function top(value: unknown): ConnectionState {
  return (typeof value === 'string' ? value : Object.keys(value as object)[0]) as ConnectionState;
}

/** All transitions of the machine, found by walking its state graph. */
function walked(): Set<string> {
  const map = getAdjacencyMap(connectionMachine, {
    input,
    events,
    serializeState: (state) =>
      JSON.stringify([
        state.value,
        state.context.wanted,
        state.context.verdict === undefined,
        Math.min(state.context.reopens, 2),
      ]),
    limit: 20_000,
  });
  const seen = new Set<string>();
  for (const { state, transitions } of Object.values(map)) {
    const from = top((state as { value: unknown }).value);
    for (const next of Object.values(
      transitions as Record<string, { state: { value: unknown }; event: ConnectionEvent }>,
    )) {
      const to = top(next.state.value);
      if (from !== to) seen.add(`${from} --${word(from, next.event, to)}--> ${to}`);
    }
  }
  return seen;
}

describe('connection machine', () => {
  it('can do what the table says, and nothing else', () => {
    const table = CONNECTION_TRANSITIONS.map(({ from, event, to }) => `${from} --${event}--> ${to}`);
    expect([...walked()].sort()).toEqual(table.sort());
  });

  it('names no state that the table does not know', () => {
    const states = Object.keys((connectionMachine.root as AnyStateNode).states).sort();
    const known = new Set(CONNECTION_TRANSITIONS.flatMap(({ from, to }) => [from, to]));
    expect(states).toEqual([...known].sort());
  });
});
