import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { lastValueFrom, toArray } from 'rxjs';
import type { EngineConfig } from '../../lib/config/config.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logged,
  stdio,
  textOf,
  timeOf,
  until,
} from '../support/engines.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const directory = temporaryDirectories();
const LATE_MS = 1_500;

/** A connected engine of one server, and the file in which the server notes what comes. */
async function started(config: EngineConfig = {}, mode = 'good'): Promise<{ troupe: Engine; log: string }> {
  const log = join(directory(), 'log');
  const troupe = engine({ ...config, servers: { s: stdio(mode, '', { SPEC_LOG: log }) } });
  await troupe.start();
  await troupe.listTools();
  return { troupe, log };
}

const echo = (troupe: Engine): Promise<string> => textOf(troupe.callTool('s__echo', { message: 'hi' }));
/** For what the types forbid. */
const wrong = (value: unknown): never => value as never;

describe('options', () => {
  it('refuses a timeout that no timer can hold, before anything is sent', async () => {
    const { troupe, log } = await started();
    for (const value of [NaN, -1, 0, 2 ** 31, Infinity, -Infinity, '5', {}]) {
      const timeoutMs = wrong(value);
      const asked: Array<() => Promise<unknown>> = [
        () => troupe.callTool('s__echo', {}, { timeoutMs }),
        () => troupe.readResource('mini://a', { timeoutMs }),
        () => troupe.listTools({ timeoutMs }),
        () => troupe.request({ method: 'vendor/thing', server: 's' }, { timeoutMs }),
        () => troupe.subscribeResource('mini://a', () => {}, { timeoutMs }),
      ];
      for (const ask of asked) {
        const error = await failureOf(ask());
        expect(error).toMatchObject({ code: 'invalid_request', delivery: 'unsent' });
        expect(error.message).toContain('timeoutMs');
      }
      const [row] = await lastValueFrom(
        troupe.fanOut({ method: 'tools/list' }, { timeoutMs }).pipe(toArray()),
      );
      expect(row).toMatchObject({ server: 's', ok: false, error: { code: 'invalid_request' } });
      const { failures } = await troupe.aggregate({ method: 'tools/list' }, { timeoutMs });
      expect(failures).toMatchObject([{ server: 's', error: { code: 'invalid_request' } }]);
    }
    expect(logged(log, 'tools/call')).toBe(0);
    expect(await textOf(troupe.callTool('s__echo', { message: 'hi' }, { timeoutMs: 2 ** 31 - 1 }))).toBe(
      'hi',
    );
  });

  it('sends nothing for a signal that is aborted already', async () => {
    const { troupe, log } = await started();
    const signal = AbortSignal.abort(new Error('never mind'));
    const asked: Array<() => Promise<unknown>> = [
      () => troupe.callTool('s__echo', {}, { signal }),
      () => troupe.readResource('mini://a', { signal }),
      () => troupe.listTools({ signal }),
      () => troupe.getPrompt('s__greet', {}, { signal }),
      () => troupe.subscribeResource('mini://a', () => {}, { signal }),
    ];
    const lists = logged(log, 'tools/list');
    for (const ask of asked)
      expect(await failureOf(ask())).toMatchObject({ code: 'cancelled', delivery: 'unsent' });
    expect(
      logged(log, 'tools/call') + logged(log, 'resources/read') + logged(log, 'resources/subscribe'),
    ).toBe(0);
    expect(logged(log, 'tools/list')).toBe(lists);
  });

  it('leaves no listener on a signal that lives on', async () => {
    const { troupe } = await started();
    const controller = new AbortController();
    const add = jest.spyOn(controller.signal, 'addEventListener');
    const remove = jest.spyOn(controller.signal, 'removeEventListener');
    for (let i = 0; i < 20; i += 1)
      await troupe.callTool('s__echo', { message: 'hi' }, { signal: controller.signal });
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });

  it('refuses names, methods and listeners that are none', async () => {
    const { troupe } = await started();
    const asked: Array<() => unknown> = [
      () => troupe.callTool(wrong(undefined)),
      () => troupe.callTool(''),
      () => troupe.callTool(wrong(7)),
      () => troupe.readResource(wrong({})),
      () => troupe.getPrompt(wrong(null)),
      () => troupe.complete(wrong(undefined), { name: 'who', value: '' }),
      () => troupe.complete({ type: 'ref/tool' }, { name: 'who', value: '' }),
      () => troupe.request(wrong(undefined)),
      () => troupe.request({ method: '' }),
      () => troupe.batch(wrong('no')),
      () => troupe.subscribeResource('mini://a', wrong('no')),
    ];
    for (const ask of asked) {
      expect(await failureOf((async () => ask())())).toMatchObject({
        code: 'invalid_request',
        delivery: 'unsent',
      });
    }
    expect(() => troupe.on('connection.changed', wrong(undefined))).toThrow('[invalid_request]');
  });
});

describe('arguments', () => {
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;

  it.each<[string, unknown]>([
    ['a cycle', circular],
    ['a BigInt', { n: 10n }],
    [
      'a toJSON that throws',
      {
        toJSON() {
          throw new Error('no');
        },
      },
    ],
    ['an array', []],
    ['null', null],
    ['a text', 'message'],
  ])('refuses %s, and goes on', async (_, args) => {
    const { troupe, log } = await started();
    const error = await failureOf(troupe.callTool('s__echo', wrong(args)));
    expect(error).toMatchObject({ code: 'invalid_request', delivery: 'unsent' });
    expect(logged(log, 'tools/call')).toBe(0);
    expect(troupe.fleet.connections[0]).toMatchObject({ inFlight: 0, queued: 0 });
    expect(await echo(troupe)).toBe('hi');
  });

  it('refuses them in a batch too, each on its own', async () => {
    const { troupe } = await started();
    const call = (args: unknown): { method: string; params: Json } => ({
      method: 'tools/call',
      params: { name: 's__echo', arguments: args },
    });
    const results = await troupe.batch([
      call({ message: 'a' }),
      call(circular),
      call({ message: 'b' }),
      call({ n: 1n }),
    ]);
    expect(results.map((row) => (row.ok ? 'ok' : row.error.code))).toEqual([
      'ok',
      'invalid_request',
      'ok',
      'invalid_request',
    ]);
  });

  it('carries 20 MB to a server that reads', async () => {
    const { troupe } = await started();
    const blob = 'x'.repeat(20_000_000);
    expect(await textOf(troupe.callTool('s__state', { blob }))).toContain('"pid"');
    expect(await echo(troupe)).toBe('hi');
  });

  it('does not let a server that reads nothing fill the memory', async () => {
    const { troupe } = await started({}, 'deaf');
    const blob = 'x'.repeat(3_000_000);
    const calls = Array.from({ length: 8 }, () =>
      failureOf(troupe.callTool('s__state', { blob }, { timeoutMs: 1_000 })),
    );
    const codes = (await Promise.all(calls)).map(({ code }) => code);
    expect(codes).toContain('queue_full');
    expect(new Set(codes)).toEqual(new Set(['queue_full', 'deadline_exceeded']));
  });

  it('changes nothing of what it was given', async () => {
    const { troupe } = await started();
    const args = Object.freeze({ message: 'hi', deep: Object.freeze({ a: Object.freeze([1]) }) });
    const meta = Object.freeze({ 'host/trace': '1' });
    expect(
      await textOf(troupe.callTool('s__echo', args, Object.freeze({ meta, onProgress: () => {} }))),
    ).toBe('hi');
  });
});

describe('code of the host', () => {
  it('may throw in a naming function: the name is made without it, and told', async () => {
    const naming = (server: string, name: string): string => {
      if (name === 'fail') throw new Error('a defect of the host');
      if (name === 'hang') return wrong(undefined);
      if (name === 'slow') return 'no good name!';
      return name === 'grow' || name === 'touch' ? 'the-same' : `${server}-${name}`;
    };
    const troupe = engine({ naming, servers: { s: stdio('good') } });
    const told = heard(troupe, 'catalog.name_clashed');
    await troupe.start();
    const { items, failures } = await troupe.listTools();
    expect(failures).toEqual([]);
    const names = new Map(items.map(({ originalName, name }) => [originalName, name]));
    expect(names.get('echo')).toBe('s-echo');
    for (const name of names.values()) expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
    expect(new Set(names.values()).size).toBe(names.size);
    expect(told.some(({ reason }) => reason.includes('a defect of the host'))).toBe(true);
    expect(await troupe.callTool(names.get('fail') ?? '')).toMatchObject({ isError: true });
    expect(await textOf(troupe.callTool('s-echo', { message: 'hi' }))).toBe('hi');
  });

  it('may hang in host.sample: the server gets an error in time', async () => {
    const signals: AbortSignal[] = [];
    const host = {
      sample(_: Json, { signal }: { readonly signal: AbortSignal }) {
        signals.push(signal);
        return new Promise<Json>(() => {});
      },
    };
    const { troupe } = await started({ host, timeoutMs: 400 });
    const asked = heard(troupe, 'server.asked');
    const elapsed = await timeOf(async () => {
      expect(await textOf(troupe.callTool('s__ask', { prompt: 'sing' }, { timeoutMs: 10_000 }))).toMatch(
        /^error .*did not answer within 400 ms/,
      );
    });
    expect(elapsed).toBeLessThan(400 + LATE_MS);
    expect(asked).toMatchObject([
      { server: 's', method: 'sampling/createMessage', ok: false, error: { code: 'deadline_exceeded' } },
    ]);
    expect(signals[0]?.aborted).toBe(true);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no model');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no model'))],
    ['answers nothing', () => undefined],
    ['answers with a text', () => 'la la la'],
    ['answers what cannot be written', () => ({ role: 'assistant', content: { n: 1n } })],
  ])('may fail in host.sample: it %s', async (_, sample) => {
    const { troupe } = await started({ host: { sample: sample as () => Json } });
    expect(await textOf(troupe.callTool('s__ask', { prompt: 'sing' }, { timeoutMs: 5_000 }))).toMatch(
      /^error /,
    );
    expect(await echo(troupe)).toBe('hi');
  });

  it('may throw, hang or forget itself in an interceptor', async () => {
    const acts: Record<string, () => unknown> = {
      throws() {
        throw new Error('a defect of the host');
      },
      rejects: () => Promise.reject(new Error('a defect of the host')),
      hangs: () => new Promise(() => {}),
      nothing: () => undefined,
    };
    const { troupe } = await started({
      interceptors: [
        (next) => (request) => (acts[String(request.meta?.['act'])]?.() as never) ?? next(request),
      ],
    });
    const call = (act: string): Promise<unknown> =>
      troupe.callTool('s__echo', { message: 'hi' }, { meta: { act }, timeoutMs: 500 });
    for (const act of ['throws', 'rejects']) {
      expect(await failureOf(call(act))).toMatchObject({ code: 'internal' });
    }
    const elapsed = await timeOf(async () => {
      expect(await failureOf(call('hangs'))).toMatchObject({ code: 'deadline_exceeded' });
    });
    expect(elapsed).toBeLessThan(500 + LATE_MS);
    expect(await echo(troupe)).toBe('hi');
  });

  it('may throw in the logger', async () => {
    const fault = (): never => {
      throw new Error('a defect of the host');
    };
    const troupe = engine({
      logger: { debug: fault, info: fault, warn: fault, error: fault },
      servers: { s: stdio('good'), bad: stdio('exit', 3), endless: stdio('endless-pages') },
      stateDir: '/dev/null/no-directory',
    });
    troupe.on('*', fault);
    await troupe.start();
    expect(await echo(troupe)).toBe('hi');
    await troupe.listTools();
    await until(
      () => (troupe.fleet.connections.find(({ server }) => server === 'bad')?.restarts ?? 0) > 1,
      'restarts',
    );
    await troupe.stop();
  });

  it('may end its own listening while it is told', async () => {
    const { troupe } = await started();
    let count = 0;
    const end = troupe.on('request.settled', () => {
      count += 1;
      end();
    });
    await echo(troupe);
    await echo(troupe);
    expect(count).toBe(1);
  });

  it('may call the engine from a listener, to stop it even', async () => {
    const { troupe } = await started();
    let stopped: Promise<void> | undefined;
    troupe.on('connection.changed', () => {
      stopped ??= troupe.stop();
    });
    process.kill(troupe.connection('s').process?.pid ?? NaN, 'SIGKILL');
    await until(() => stopped !== undefined, 'the stop');
    await stopped;
    expect(troupe.connection('s').state).toBe('Disconnected');
  });
});

describe('what is not there', () => {
  it('is not_found: an unknown server', async () => {
    const { troupe } = await started();
    const asked: Array<() => Promise<unknown>> = [
      () => troupe.request({ method: 'vendor/thing', server: 'nope' }),
      () => troupe.callTool('s__echo', {}, { servers: ['nope'] }),
      () => troupe.listTools({ servers: ['nope'] }),
      () => troupe.readResource('mini://a', { servers: ['nope'] }),
      () => troupe.remove('nope'),
      () => troupe.authorize('nope'),
      async () => troupe.connection('nope'),
      async () => troupe.connection('__proto__'),
      () => troupe.aggregate({ method: 'tools/list', servers: ['nope'] }),
      () => lastValueFrom(troupe.fanOut({ method: 'tools/list', servers: ['nope'] })),
    ];
    for (const ask of asked) {
      const error = await failureOf(ask());
      expect(error).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    }
  });

  it('is not_found: a tool, a prompt, a resource', async () => {
    const { troupe } = await started();
    const asked = [
      troupe.callTool('s__nothing'),
      troupe.callTool('nothing'),
      troupe.getPrompt('s__nothing'),
      troupe.readResource('nothing://here'),
      troupe.complete({ type: 'ref/prompt', name: 'nothing' }, { name: 'a', value: '' }),
    ];
    const codes = await Promise.all(asked.map(async (promise) => (await failureOf(promise)).code));
    expect(codes).toEqual(asked.map(() => 'not_found'));
  });

  it.each<[string, EngineConfig]>([
    ['without servers', {}],
    ['of no servers', { servers: {} }],
    ['of disabled ones', { servers: { s: { ...stdio('good'), disabled: true } } }],
  ])('is an empty fleet %s', async (_, config) => {
    const troupe = engine(config);
    const fleet = await troupe.start();
    expect(fleet).toMatchObject({ servers: [], connections: [] });
    expect(await troupe.listTools()).toMatchObject({ items: [], failures: [] });
    expect(await troupe.listResources()).toMatchObject({ items: [], failures: [] });
    expect(await lastValueFrom(troupe.fanOut({ method: 'tools/list' }).pipe(toArray()))).toEqual([]);
    expect(await troupe.batch([])).toEqual([]);
    expect((await failureOf(troupe.callTool('anything'))).code).toBe('not_found');
    expect((await failureOf(troupe.readResource('any://thing'))).code).toBe('not_found');
    expect((await failureOf(troupe.request({ method: 'ping' }))).code).toBe('not_found');
    await troupe.add('later', stdio('good'));
    expect(await textOf(troupe.callTool('later__echo', { message: 'hi' }))).toBe('hi');
    await troupe.stop();
  });
});

describe('a host that is busy', () => {
  /** The event loop stands still, at no cost for others on the machine. */
  const stall = (ms: number): void => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  };

  it('counts answers that came while it stalled before the timers', async () => {
    const { troupe } = await started();
    const answers = [
      troupe.callTool('s__echo', { message: 'hi' }, { timeoutMs: 1_000 }),
      troupe.readResource('mini://a', { timeoutMs: 1_000 }),
      troupe.request({ method: 'vendor/thing', params: { x: 1 }, server: 's' }, { timeoutMs: 1_000 }),
    ];
    const settled = Promise.all(answers);
    await new Promise((resolve) => void setImmediate(resolve));
    stall(3_000);
    expect(await settled).toMatchObject([
      { content: [{ text: 'hi' }] },
      { contents: [{ uri: 'mini://a' }] },
      { vendor: 1 },
    ]);
  });

  it('still ends what was not answered', async () => {
    const { troupe } = await started();
    const hang = failureOf(troupe.callTool('s__hang', {}, { timeoutMs: 1_000 }));
    await new Promise((resolve) => void setImmediate(resolve));
    const elapsed = await timeOf(async () => {
      stall(2_000);
      expect(await hang).toMatchObject({ code: 'deadline_exceeded', delivery: 'sent' });
    });
    expect(elapsed).toBeLessThan(2_000 + LATE_MS);
  });

  it('opens a connection whose server answered while it stalled longer than the start may take', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({
      servers: {
        s: { ...stdio('good', '', { SPEC_LOG: log }), era: 'legacy', startTimeoutMs: 3_000 },
      },
      restart: { baseMs: 60_000 },
    });
    const start = troupe.start();
    await until(() => troupe.connection('s').state === 'Initializing', 'the process');
    await new Promise((resolve) => void setImmediate(resolve));
    const began = performance.now();
    const waited = (): number => performance.now() - began;
    while (waited() < 3_500 || (logged(log, 'initialize') === 0 && waited() < 20_000)) stall(50);
    stall(500);
    await start;
    expect(isConnected(troupe, 's')).toBe(true);
  });

  it('loses no connection over it', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({
      servers: {
        s: {
          ...stdio('good', '', { SPEC_LOG: log }),
          probe: { intervalMs: 100, timeoutMs: 200, failures: 2 },
        },
      },
    });
    await troupe.start();
    for (let i = 0; i < 3; i += 1) {
      stall(1_000);
      await new Promise((resolve) => {
        setTimeout(resolve, 30);
      });
    }
    expect(isConnected(troupe, 's')).toBe(true);
    expect(troupe.fleet.connections[0]?.restarts).toBe(0);
    expect(logged(log, 'spawn')).toBe(1);
  });

  it('may stop while it starts', async () => {
    const troupe = engine({ servers: { s: stdio('silent'), t: stdio('good') } });
    const started_ = troupe.start();
    expect(await timeOf(() => troupe.stop({ graceMs: 100 }))).toBeLessThan(1_100 + LATE_MS);
    await Promise.allSettled([started_]);
    expect(troupe.fleet.connections.every(({ state }) => state === 'Disconnected')).toBe(true);
  });
});
