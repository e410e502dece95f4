import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { AnyStateNode, EventFrom } from 'xstate';
import { getAdjacencyMap, getSimplePaths } from 'xstate/graph';
import { serverProcessMachine, type Running } from '../../lib/connection/server-process.machine.ts';
import { ServerProcess } from '../../lib/connection/server-process.ts';
import { PROCESS_TRANSITIONS } from '../../lib/connection/transitions.ts';
import type { ProcessState } from '../../lib/core/events.ts';
import { createLauncher } from '../../lib/mcp/process.ts';
import { createNursery } from '../support/stdio-peer.ts';

// Starting a process takes a second on a busy machine.
jest.setTimeout(120_000);

const nursery = createNursery();
afterEach(() => nursery.clear());

const running: Running = {
  pid: 1,
  exited: new Promise(() => {}),
  stop: () => Promise.resolve({ code: 0, signal: null }),
};
const exit = { code: 0, signal: null };
const error = new Error('fails');

/** What the invoked actors can say, beside the events from outside. Names are XState's own. */
const events = [
  { type: 'start' },
  { type: 'stop' },
  { type: 'xstate.done.actor.0.process.Starting', output: running },
  { type: 'xstate.error.actor.0.process.Starting', error },
  { type: 'xstate.done.actor.0.process.Running', output: exit },
  { type: 'xstate.error.actor.0.process.Running', error },
  { type: 'xstate.done.actor.0.process.Stopping', output: exit },
  { type: 'xstate.error.actor.0.process.Stopping', error },
] as unknown as Array<EventFrom<typeof serverProcessMachine>>;

const options = {
  input: { launch: () => new Promise<Running>(() => {}) },
  events,
  serializeState: (state: { value: unknown }) => JSON.stringify(state.value),
};

/** The transition table's word for an event of the machine, in the state it happens in. */
function word(from: ProcessState, event: string): string {
  if (event.startsWith('xstate.error') && from === 'Starting') return 'failed';
  if (!event.startsWith('xstate.')) return event;
  return { Starting: 'launched', Running: 'exited', Stopping: 'stopped' }[from as string] ?? event;
}

const table = PROCESS_TRANSITIONS.map(({ from, event, to }) => `${from} --${event}--> ${to}`).sort();

describe('process machine', () => {
  it('can do what the table says, and nothing else', () => {
    const seen = new Set<string>();
    for (const { state, transitions } of Object.values(getAdjacencyMap(serverProcessMachine, options))) {
      const from = (state as { value: ProcessState }).value;
      for (const next of Object.values(
        transitions as Record<string, { state: { value: ProcessState }; event: { type: string } }>,
      )) {
        const to = next.state.value;
        if (from !== to) seen.add(`${from} --${word(from, next.event.type)}--> ${to}`);
      }
    }
    expect([...seen].sort()).toEqual(table);
  });

  it('names no state that the table does not know', () => {
    const states = Object.keys((serverProcessMachine.root as AnyStateNode).states).sort();
    const known = new Set(PROCESS_TRANSITIONS.flatMap(({ from, to }) => [from, to]));
    expect(states).toEqual([...known].sort());
  });
});

type Step = { readonly word: string; readonly to: ProcessState };

/** Every way through the machine that visits no state twice, in the words of the table. */
const ways: Step[][] = [];
{
  const seen = new Set<string>();
  for (const path of getSimplePaths(serverProcessMachine, options)) {
    let from: ProcessState = 'Created';
    const way: Step[] = [];
    for (const { event, state } of path.steps) {
      const to = state.value;
      if (to !== from) way.push({ word: word(from, event.type), to });
      from = to;
    }
    const key = JSON.stringify(way);
    if (way.length > 0 && from === 'Stopped' && !seen.has(key)) ways.push(way);
    seen.add(key);
  }
}

describe('a server process', () => {
  const taken = new Set<string>();

  it.each(ways.map((way) => [way.map(({ word }) => word).join(' → '), way] as const))(
    'takes a real process through: %s',
    async (_, way) => {
      let open: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const fails = way.some(({ word }) => word === 'failed');
      const process = new ServerProcess(async () => {
        await gate;
        const spec = nursery.spec({
          eofMs: 50,
          sigtermMs: 5_000,
          ...(fails ? { command: 'no-such-program' } : {}),
        });
        return createLauncher().launch(spec);
      });
      const states: ProcessState[] = [process.state];
      process.subscribe((state) => states.push(state));
      let started: Promise<unknown> | undefined;
      let stopped: Promise<void> | undefined;
      const reached = async (state: ProcessState): Promise<void> => {
        const end = performance.now() + 60_000;
        while (!states.includes(state) && performance.now() < end)
          await new Promise((resolve) => void setTimeout(resolve, 5));
      };
      for (const { word, to } of way) {
        if (word === 'start') started = process.start().catch((error: unknown) => error);
        else if (word === 'stop') stopped = process.stop();
        else if (word === 'exited') globalThis.process.kill(process.pid ?? NaN, 'SIGKILL');
        else open();
        await reached(to);
        expect(process.state).toBe(to);
      }
      states.reduce((from, to) => {
        const row = PROCESS_TRANSITIONS.find(
          (row) => row.from === from && row.to === to && way.some((step) => step.word === row.event),
        );
        taken.add(`${row?.from} --${row?.event}--> ${row?.to}`);
        return to;
      });
      expect(states).toEqual(['Created', ...way.map(({ to }) => to)]);
      await stopped;
      await process.stop();
      expect(states).toHaveLength(way.length + 1);
      expect(nursery.left()).toEqual([]);
      const refusal = fails ? 'unavailable' : way[1]?.word === 'stop' ? 'stopped' : undefined;
      expect(((await started) as { code?: string } | undefined)?.code).toBe(refusal);
      const killed = way.at(-1)?.word === 'exited';
      expect(killed ? process.exit?.signal : 'SIGKILL').toBe('SIGKILL');
    },
  );

  it('has taken every transition of the table on the way', () => {
    expect([...taken].sort()).toEqual(table);
  });
});
