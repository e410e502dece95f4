import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, jest } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logged,
  pause,
  textOf,
  until,
} from '../support/engines.ts';
import { flakyStdio, nonce } from '../support/flaky.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

// Each of these is also shown, in more detail, with servers of the tests' own process; here the peer is one of its own,
// which can be killed, stopped and counted by the system.
jest.setTimeout(60_000);
hostHearsNothing();
const engine = engines();
const directory = temporaryDirectories();
const support = (file: string): string => fileURLToPath(new URL(`../support/${file}`, import.meta.url));
const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

const act = (of: Engine, server = 's', args = {}, options = {}): Promise<string> =>
  textOf(of.callTool(`${server}__act`, { nonce: nonce(), ...args }, options));

function pidOf(of: Engine, connection: string): number {
  const pid = of.connection(connection).process?.pid;
  if (pid === undefined) throw new Error(`${connection} has no process`);
  return pid;
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Stopped processes go on when the work is over, whatever happened in it: one that is stopped cannot be ended politely. */
async function whileStopped<T>(pid: number, work: () => Promise<T>): Promise<T> {
  process.kill(pid, 'SIGSTOP');
  try {
    return await work();
  } finally {
    if (lives(pid)) process.kill(pid, 'SIGCONT');
  }
}

describe('against processes of their own', () => {
  it('failover takes one attempt: a killed replica costs no call', async () => {
    const troupe = engine({
      restart: { baseMs: 60_000, capMs: 60_000 },
      servers: { s: { ...flakyStdio(), replicas: 3, routing: 'round-robin', retry: false } },
    });
    await troupe.start();
    await troupe.listTools();
    const settled = heard(troupe, 'request.settled');
    process.kill(pidOf(troupe, 's#1'), 'SIGKILL');
    await until(() => !isConnected(troupe, 's#1'), 'the end of it');
    for (const _ of times(30)) await act(troupe);
    expect(settled).toHaveLength(30);
    expect(settled.every(({ ok, attempts }) => ok && attempts === 1)).toBe(true);
    expect(new Set(settled.map(({ connection }) => connection))).toEqual(new Set(['s#0', 's#2']));
  });

  it('a breaker opens, lets nobody through, and one probe closes it', async () => {
    const troupe = engine({
      servers: {
        s: { ...flakyStdio(), retry: false, probe: false, breaker: { consecutive: 3, openMs: 2_000 } },
      },
    });
    await troupe.start();
    await act(troupe);
    const changes = heard(troupe, 'breaker.changed');
    for (const _ of times(3))
      expect((await failureOf(act(troupe, 's', { end: 'error' }))).code).toBe('protocol_error');
    const refused = await failureOf(act(troupe));
    expect(refused).toMatchObject({ code: 'circuit_open', delivery: 'unsent', server: 's' });
    await until(() => troupe.fleet.connections[0]?.breaker === 'closed', 'the probe');
    expect(changes.map(({ to }) => to)).toEqual(['open', 'half-open', 'closed']);
    await act(troupe);
  });

  it('the connection used longest ago is closed with its process, and is back with the next call', async () => {
    const troupe = engine({
      pool: { maxConnections: 1 },
      servers: { a: { ...flakyStdio(), lazy: true }, b: { ...flakyStdio(), lazy: true } },
    });
    await troupe.start();
    await act(troupe, 'a');
    const first = pidOf(troupe, 'a');
    await act(troupe, 'b');
    expect(lives(first)).toBe(false);
    expect(troupe.connection('a').state).toBe('Disconnected');
    const other = pidOf(troupe, 'b');
    await act(troupe, 'a');
    expect(lives(other)).toBe(false);
    expect(pidOf(troupe, 'a')).not.toBe(first);
    expect(lives(pidOf(troupe, 'a'))).toBe(true);
  });

  it('affinity outlives a reconnect of another replica, and its own loss is typed', async () => {
    const troupe = engine({
      servers: { s: { ...flakyStdio(), replicas: 2, routing: 'round-robin', affinity: 'session' } },
    });
    await troupe.start();
    const settled = heard(troupe, 'request.settled');
    const count = async (): Promise<number> =>
      Number(await textOf(troupe.callTool('s__count', {}, { affinity: 'ann' })));
    expect([await count(), await count(), await count()]).toEqual([1, 2, 3]);
    const mine = settled.at(-1)?.connection ?? '';
    const other = mine === 's#0' ? 's#1' : 's#0';
    const before = pidOf(troupe, other);
    process.kill(before, 'SIGKILL');
    await until(() => isConnected(troupe, other) && pidOf(troupe, other) !== before, 'the other');
    expect(await count()).toBe(4);
    process.kill(pidOf(troupe, mine), 'SIGKILL');
    await until(() => !isConnected(troupe, mine), 'the loss');
    expect(await failureOf(count())).toMatchObject({
      code: 'affinity_lost',
      delivery: 'unsent',
      connection: mine,
    });
    // Said once; who goes on knows that the state is new.
    expect(await count()).toBe(1);
  });

  it('a hedge wins over a replica that is stopped, and the loser is cancelled there', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({
      servers: {
        s: {
          ...flakyStdio(log),
          replicas: 2,
          trusted: true,
          routing: 'round-robin',
          probe: false,
          hedge: { minDelayMs: 50 },
        },
      },
    });
    await troupe.start();
    const look = (of: string, ms = 0): Promise<string> =>
      textOf(troupe.callTool('s__look', { nonce: of, ms }));
    for (const _ of times(60)) await look(nonce());
    const settled = heard(troupe, 'request.settled');
    const asked = [nonce(), nonce()];
    await whileStopped(pidOf(troupe, 's#0'), async () => {
      // Long enough not to be answered before the cancel is read.
      for (const of of asked) expect(await look(of, 200)).toContain(of);
    });
    expect(settled.every(({ ok, connection }) => ok && connection === 's#1')).toBe(true);
    expect(settled.some(({ attempts }) => attempts === 2)).toBe(true);
    // Once it goes on it reads the request and, behind it, that nobody waits for it: it is told before it has begun.
    await until(() => logged(log, 'cancelled') > 0, 'the loser to hear of it');
  });

  it.each(['2025-11-25', '2026-07-28'])(
    'a kept list of %s is asked for again once it changed',
    async (revision) => {
      const troupe = engine({
        servers: {
          s: {
            command: process.execPath,
            args: [support('mini-stdio.mjs'), revision],
            // The modern one says that its lists are fresh for no time at all: kept is what only a change takes away.
            cache: { lists: { ttlMs: 60_000 } },
          },
        },
      });
      await troupe.start();
      await troupe.listTools();
      const names = async (): Promise<string[]> =>
        (await troupe.listTools()).items.map(({ originalName }) => originalName);
      const settledLists = heard(troupe, 'catalog.changed');
      const before = await names();
      expect(await names()).toEqual(before);
      expect(settledLists).toEqual([]);
      await troupe.callTool('s__grow');
      await until(() => settledLists.some(({ kinds }) => kinds.includes('tools')), 'the new list');
      expect(await names()).toEqual([...before, 'extra-0']);
    },
  );

  it('a batch of 90 on a server of 2025-03-26 is one POST', async () => {
    const child = spawn(process.execPath, [support('flaky-http-process.mjs'), '2025-03-26'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value as string);
      const troupe = engine({ servers: { s: { url: (await next()) as string } } });
      await troupe.start();
      await troupe.listTools();
      const posts = async (): Promise<Array<{ size: number; array: boolean }>> => {
        child.stdin.write('?\n');
        return (await next()) as Array<{ size: number; array: boolean }>;
      };
      const before = (await posts()).length;
      const outcomes = await troupe.batch(
        times(90).map((i) => ({
          server: 's',
          method: 'tools/call',
          params: { name: 'act', arguments: { nonce: String(i) } },
        })),
      );
      expect(
        outcomes.map((o) => (o.ok ? (o.result['content'] as [{ text: string }])[0].text : o.error)),
      ).toEqual(times(90).map((i) => `act ${i} by flaky`));
      const sent = (await posts()).slice(before).filter(({ array }) => array);
      expect(sent).toEqual([expect.objectContaining({ size: 90 })]);
      await troupe.stop();
    } finally {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    }
  });

  it('a dip in capacity is over when it is over for the server', async () => {
    const settings: ServerConfig = {
      retry: false,
      breaker: false,
      probe: false,
      maxInFlight: 4,
      timeoutMs: 500,
    };
    const troupe = engine({ servers: { s: { ...flakyStdio(), ...settings } } });
    await troupe.start();
    await act(troupe);
    /** Calls every 10 ms that take `ms` each; how each of them ended. */
    const load = async (calls: number, ms: number): Promise<string[]> => {
      const outcomes: Promise<string>[] = [];
      for (const _ of times(calls)) {
        outcomes.push(
          act(troupe, 's', { ms }).then(
            () => 'ok',
            (error: TroupeError) => error.code,
          ),
        );
        await pause(10);
      }
      return Promise.all(outcomes);
    };
    const dip = await load(150, 300);
    expect(dip.every((outcome) => ['ok', 'queue_full', 'deadline_exceeded'].includes(outcome))).toBe(true);
    // 4 slots, 300 ms each: at least one of three rounds in a second and a half ends in time.
    expect(dip.filter((outcome) => outcome === 'ok').length).toBeGreaterThanOrEqual(8);
    expect(dip.filter((outcome) => outcome !== 'ok').length).toBeGreaterThan(50);
    expect(new Set(await load(50, 1))).toEqual(new Set(['ok']));
  });
});
