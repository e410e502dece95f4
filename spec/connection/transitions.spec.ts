import { join } from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import { normalise } from '../../lib/config/normalise.ts';
import type { Connection } from '../../lib/connection/connection.ts';
import { ServerProcess } from '../../lib/connection/server-process.ts';
import {
  CONNECTION_TRANSITIONS,
  PROCESS_TRANSITIONS,
  type Transition,
} from '../../lib/connection/transitions.ts';
import { createClock } from '../../lib/core/clock.ts';
import { compileEngine } from '../../lib/engine/compose.ts';
import { createLauncher } from '../../lib/mcp/process.ts';
import { STRATEGY_NAMES } from '../../lib/routing/strategy-registry.ts';
import { badServers } from '../support/bad-http.ts';
import { QUICK, hostHearsNothing, logLines, logged, stdio, until } from '../support/engines.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';
import { startWsServer } from '../support/ws-server.ts';

/*
 * Each row of the two tables is taken by a real server, so that a transition that is missing from a machine fails
 * here; that the machines have no others is told by their own specs.
 */

jest.setTimeout(30_000);
hostHearsNothing();
const directory = temporaryDirectories();
const servers = badServers();
const ends: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

interface Life {
  readonly connection: Connection;
  /** Every step so far: `Connecting → Error`. */
  readonly steps: readonly string[];
  readonly pid: () => number;
  request(): Promise<unknown>;
  /** Waits for the connection to be in this state. */
  is(state: string): Promise<void>;
}

/** One connection of an engine, not yet begun with. */
function life(server: ServerConfig, config: EngineConfig = {}): Life {
  const resolved = normalise(
    { restart: QUICK, ...config, servers: { s: server } },
    { strategies: STRATEGY_NAMES },
  );
  const parts = compileEngine(resolved);
  const steps: string[] = [];
  parts.bus.on('connection.changed', ({ from, to }) => steps.push(`${from} → ${to}`));
  const [only] = resolved.servers.map((each) => parts.addServer(each));
  const replica = only?.replicas[0];
  if (replica === undefined) throw new Error('no replica');
  const { connection } = replica;
  ends.push(async () => {
    await parts.removeServer('s', 0, false);
    parts.dispose();
  });
  return {
    connection,
    steps,
    pid: () => replica.process?.pid ?? NaN,
    async request() {
      const request = parts.requests.create(
        { method: 'tools/call', params: { name: 'echo', arguments: {} }, target: 'echo', server: 's' },
        undefined,
        5_000,
      );
      return parts.handle(request);
    },
    is: (state) => until(() => connection.state === state, `${state}, not ${connection.state}`),
  };
}

const slowly = { restart: { baseMs: 60_000, capMs: 60_000, jitter: 0 } };
const MISSING: ServerConfig = { command: 'no-such-program-anywhere' };

/** A server that answers 401 from the given request on. */
const guarded = (after: () => boolean): Promise<string> =>
  servers.http(
    (_, response) => after() && Boolean(response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()),
  );

const CONNECTION_CASES: Readonly<Record<string, () => Promise<Life>>> = {
  async 'Disconnected --connect--> Connecting'() {
    const of = life(stdio('silent'));
    of.connection.wake();
    expect(of.steps).toEqual(['Disconnected → Connecting']);
    return of;
  },
  async 'Connecting --opened--> Initializing'() {
    const of = life(stdio('silent'));
    of.connection.wake();
    await of.is('Initializing');
    return of;
  },
  async 'Connecting --failed--> Error'() {
    const of = life(MISSING, slowly);
    of.connection.wake();
    await of.is('Error');
    expect(of.connection.error).toMatchObject({ code: 'unavailable' });
    return of;
  },
  async 'Connecting --challenged--> AuthRequired'() {
    const web = await startWsServer(() => {}, {
      refuse: 401,
      refuseHeaders: { 'www-authenticate': 'Bearer' },
    });
    ends.push(() => web.close());
    const of = life({ url: web.url.href, type: 'ws' }, slowly);
    of.connection.wake();
    await of.is('AuthRequired');
    expect(of.connection.error).toMatchObject({ code: 'auth_required' });
    return of;
  },
  async 'Connecting --disconnect--> Disconnecting'() {
    const port = await servers.tcp(() => {});
    const of = life({ url: `ws://127.0.0.1:${port}/`, type: 'ws' });
    of.connection.wake();
    await of.is('Connecting');
    await of.connection.disconnect(0);
    return of;
  },
  async 'Initializing --initialized--> Connected'() {
    const of = life(stdio('good'));
    of.connection.wake();
    await of.is('Connected');
    expect(of.connection.session).toBeDefined();
    return of;
  },
  async 'Initializing --reopened--> Connecting'() {
    const SPEC_LOG = join(directory(), 'log');
    const of = life(stdio('exit-on-probe', '', { SPEC_LOG }), slowly);
    of.connection.wake();
    await of.is('Connected');
    expect(logged(SPEC_LOG, 'spawn')).toBe(2);
    expect(of.steps).not.toContain('Initializing → Error');
    return of;
  },
  async 'Initializing --failed--> Error'() {
    const of = life({ ...stdio('exit', 3), era: 'legacy' }, slowly);
    of.connection.wake();
    await of.is('Error');
    expect(of.connection.error).toMatchObject({ code: 'connection_lost', data: { code: 3 } });
    return of;
  },
  async 'Initializing --challenged--> AuthRequired'() {
    const of = life({ url: await guarded(() => true) }, slowly);
    of.connection.wake();
    await of.is('AuthRequired');
    return of;
  },
  async 'Initializing --disconnect--> Disconnecting'() {
    const of = life(stdio('silent'));
    of.connection.wake();
    await of.is('Initializing');
    await of.connection.disconnect(0);
    return of;
  },
  async 'Connected --lost--> Error'() {
    const of = life(stdio('good'), slowly);
    of.connection.wake();
    await of.is('Connected');
    process.kill(of.pid(), 'SIGKILL');
    await of.is('Error');
    expect(of.connection.error).toMatchObject({ code: 'connection_lost', data: { signal: 'SIGKILL' } });
    return of;
  },
  async 'Connected --challenged--> AuthRequired'() {
    let locked = false;
    const of = life({ url: await guarded(() => locked) }, slowly);
    of.connection.wake();
    await of.is('Connected');
    locked = true;
    await expect(of.request()).rejects.toMatchObject({ code: 'auth_required' });
    await of.is('AuthRequired');
    return of;
  },
  async 'Connected --disconnect--> Disconnecting'() {
    const of = life(stdio('good'));
    of.connection.wake();
    await of.is('Connected');
    await of.connection.disconnect(1_000);
    return of;
  },
  async 'Disconnecting --closed--> Disconnected'() {
    const of = life(stdio('ignore-sigterm'));
    of.connection.wake();
    await of.is('Connected');
    const pid = of.pid();
    const done = of.connection.disconnect(100);
    expect(of.connection.state).toBe('Disconnecting');
    await done;
    expect(of.connection.state).toBe('Disconnected');
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    return of;
  },
  async 'Error --retry--> Connecting'() {
    const of = life(stdio('exit-at-first', 2, { SPEC_LOG: join(directory(), 'log') }));
    of.connection.wake();
    // Nobody wakes it: only the time does.
    await of.is('Connected');
    expect(of.connection.restarts).toBeGreaterThan(0);
    return of;
  },
  async 'Error --connect--> Connecting'() {
    const SPEC_LOG = join(directory(), 'log');
    const of = life(stdio('exit-at-first', 2, { SPEC_LOG }), slowly);
    of.connection.wake();
    await of.is('Error');
    of.connection.wake();
    // At once, a minute before its time.
    await of.is('Connected');
    expect(logLines(SPEC_LOG).filter((line) => /^spawn .* beside [1-9]/.test(line))).toEqual([]);
    return of;
  },
  async 'Error --disconnect--> Disconnecting'() {
    const of = life(MISSING, slowly);
    of.connection.wake();
    await of.is('Error');
    await of.connection.disconnect(0);
    return of;
  },
  async 'AuthRequired --authorized--> Connecting'() {
    let locked = true;
    const of = life({ url: await guarded(() => locked) }, slowly);
    of.connection.wake();
    await of.is('AuthRequired');
    locked = false;
    of.connection.authorized();
    await of.is('Connected');
    return of;
  },
  async 'AuthRequired --disconnect--> Disconnecting'() {
    const of = life({ url: await guarded(() => true) }, slowly);
    of.connection.wake();
    await of.is('AuthRequired');
    await of.connection.disconnect(0);
    return of;
  },
};

interface Run {
  readonly process: ServerProcess;
  readonly steps: readonly string[];
}

/** A process of its own, launched for real. */
function run(server: ServerConfig): Run {
  const { command, args = [] } = server as { command: string; args?: readonly string[] };
  const child = new ServerProcess(() =>
    createLauncher().launch({
      command,
      args,
      env: { PATH: process.env['PATH'] ?? '' },
      cwd: undefined,
      server: 's',
      stderrTailBytes: 1_000,
      eofMs: 500,
      sigtermMs: 500,
      clock: createClock(),
    }),
  );
  const steps: string[] = [];
  let from: string = child.state;
  child.subscribe((to) => {
    steps.push(`${from} → ${to}`);
    from = to;
  });
  ends.push(() => child.stop());
  return { process: child, steps };
}

const alive = (pid: number | undefined): boolean => {
  try {
    return process.kill(pid ?? NaN, 0);
  } catch {
    return false;
  }
};

const PROCESS_CASES: Readonly<Record<string, () => Promise<Run>>> = {
  async 'Created --start--> Starting'() {
    const of = run(stdio('good'));
    const started = of.process.start();
    expect(of.steps).toEqual(['Created → Starting']);
    await started;
    return of;
  },
  async 'Created --stop--> Stopped'() {
    const of = run(stdio('good'));
    await of.process.stop();
    expect(of.steps).toEqual(['Created → Stopped']);
    return of;
  },
  async 'Starting --launched--> Running'() {
    const of = run(stdio('good'));
    const { pid } = await of.process.start();
    expect(alive(pid)).toBe(true);
    return of;
  },
  async 'Starting --failed--> Stopped'() {
    const of = run(MISSING);
    await expect(of.process.start()).rejects.toMatchObject({ code: 'unavailable' });
    return of;
  },
  async 'Starting --stop--> Stopping'() {
    const of = run(stdio('ignore-sigterm'));
    const started = of.process.start();
    started.catch(() => {});
    await of.process.stop();
    await expect(started).rejects.toMatchObject({ code: 'stopped' });
    expect(of.steps).toEqual(['Created → Starting', 'Starting → Stopping', 'Stopping → Stopped']);
    return of;
  },
  async 'Running --exited--> Stopped'() {
    const of = run(stdio('good'));
    const { pid } = await of.process.start();
    process.kill(pid ?? NaN, 'SIGKILL');
    await until(() => of.process.state === 'Stopped', 'the end');
    expect(of.process.exit).toEqual({ code: null, signal: 'SIGKILL' });
    return of;
  },
  async 'Running --stop--> Stopping'() {
    const of = run(stdio('good'));
    await of.process.start();
    const stopped = of.process.stop();
    expect(of.process.state).toBe('Stopping');
    await stopped;
    return of;
  },
  async 'Stopping --stopped--> Stopped'() {
    const of = run(stdio('ignore-sigterm'));
    const { pid } = await of.process.start();
    await of.process.stop();
    expect(of.process.state).toBe('Stopped');
    expect(alive(pid)).toBe(false);
    return of;
  },
};

const rows = (table: ReadonlyArray<Transition<string>>): ReadonlyArray<readonly [string, string]> =>
  table.map(({ from, event, to }) => [`${from} --${event}--> ${to}`, `${from} → ${to}`]);

describe('a connection', () => {
  it('has a case for each row of the table, and for nothing else', () => {
    expect(Object.keys(CONNECTION_CASES).sort()).toEqual(
      rows(CONNECTION_TRANSITIONS)
        .map(([row]) => row)
        .sort(),
    );
  });

  it.each(rows(CONNECTION_TRANSITIONS))('goes %s', async (row, step) => {
    const { steps } = (await CONNECTION_CASES[row]?.()) ?? { steps: [] };
    expect(steps).toContain(step);
  });
});

describe('a process', () => {
  it('has a case for each row of the table, and for nothing else', () => {
    expect(Object.keys(PROCESS_CASES).sort()).toEqual(
      rows(PROCESS_TRANSITIONS)
        .map(([row]) => row)
        .sort(),
    );
  });

  it.each(rows(PROCESS_TRANSITIONS))('goes %s', async (row, step) => {
    const { steps } = (await PROCESS_CASES[row]?.()) ?? { steps: [] };
    expect(steps).toContain(step);
  });
});
