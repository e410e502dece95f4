import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, jest } from '@jest/globals';
import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { EventOf } from '../../lib/core/events.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { createMemoryPair } from '../../lib/mcp/transports/memory-pair.ts';
import { badServers, isCall, json } from '../support/bad-http.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logLines,
  stdio,
  textOf,
  timeOf,
  until,
} from '../support/engines.ts';
import { createMiniServer } from '../support/mini-server.mjs';
import { temporaryDirectories } from '../support/temp-dir.ts';
import { startWsServer } from '../support/ws-server.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const directory = temporaryDirectories();
const servers = badServers();

/** What a deadline may be passed by on a busy machine; on an idle one it is 250 ms. */
const LATE_MS = 1_500;

/** A healthy server in our own process. */
const healthy = (): ServerConfig => ({
  transport() {
    const [client, own] = createMemoryPair();
    const write = (message: unknown): void => void own.send(message as never);
    const mini = createMiniServer({ revision: '2025-11-25', push: write });
    Object.assign(own, { onmessage: (message: unknown) => void mini.receive(message, write) });
    void own.start();
    return client;
  },
});

/** What was told since the engine was made. */
interface Told {
  readonly oddities: ReadonlyArray<EventOf<'connection.oddity'>>;
  readonly skipped: ReadonlyArray<EventOf<'catalog.item_skipped'>>;
  readonly changes: ReadonlyArray<EventOf<'connection.changed'>>;
}

/** An engine of a healthy server and the bad one, while somebody asks the healthy one all the time. */
async function beside(
  bad: ServerConfig,
  work: (troupe: Engine, told: Told) => Promise<void>,
  config: EngineConfig = {},
): Promise<void> {
  const troupe = engine({ ...config, servers: { good: healthy(), bad } });
  const told: Told = {
    oddities: heard(troupe, 'connection.oddity'),
    skipped: heard(troupe, 'catalog.item_skipped'),
    changes: heard(troupe, 'connection.changed'),
  };
  const asking = { ended: false };
  let answers = 0;
  const answered = (async () => {
    while (!asking.ended) {
      expect(await textOf(troupe.callTool('good__echo', { message: 'hi' }, { timeoutMs: 5_000 }))).toBe('hi');
      answers += 1;
      await sleep(20);
    }
  })();
  // Told below; until then it is nobody's.
  answered.catch(() => {});
  try {
    await troupe.start();
    await work(troupe, told);
  } finally {
    asking.ended = true;
    await answered;
  }
  expect(answers).toBeGreaterThan(0);
}

const errorOf = (troupe: Engine): TroupeError | undefined =>
  troupe.fleet.connections.find(({ id }) => id === 'bad')?.error;
const echo = (troupe: Engine): Promise<string> =>
  textOf(troupe.callTool('bad__echo', { message: 'still here' }));

/** Fails to open with this error, which lists and calls repeat. */
async function failsToOpen(
  bad: ServerConfig,
  expected: { readonly code: string; readonly says: RegExp; readonly data?: object },
): Promise<void> {
  await beside(
    { startTimeoutMs: 5_000, ...bad, restart: { baseMs: 60_000, capMs: 60_000 } },
    async (troupe) => {
      const error = errorOf(troupe);
      expect(error).toMatchObject({
        code: expected.code,
        server: 'bad',
        ...(expected.data && { data: expected.data }),
      });
      expect(error?.message).toMatch(expected.says);
      const { items, failures } = await troupe.listTools();
      expect(items.length).toBeGreaterThan(0);
      expect(failures).toMatchObject([{ server: 'bad', error: { code: expected.code } }]);
      const refused = await failureOf(troupe.callTool('bad__echo', {}));
      expect(refused).toMatchObject({ code: 'unavailable', delivery: 'unsent', server: 'bad' });
      expect(refused.message).toMatch(expected.says);
    },
  );
}

describe('a server that cannot be opened', () => {
  it('has no binary', () =>
    failsToOpen(
      { command: 'no-such-program-anywhere', args: ['x'] },
      { code: 'unavailable', says: /"no-such-program-anywhere" could not be started/ },
    ));

  it('may not be executed', () => {
    const command = `${directory()}/server`;
    writeFileSync(command, 'no program', { mode: 0o600 });
    return failsToOpen(
      { command },
      { code: 'unavailable', says: /server" could not be started: it may not be executed/ },
    );
  });

  it('has nobody on its port', () =>
    // Port 1 is privileged: nobody takes it by chance.
    failsToOpen({ url: 'http://127.0.0.1:1/mcp' }, { code: 'unavailable', says: /ECONNREFUSED|refused/i }));

  it('has no such page', async () => {
    const url = await servers.http((_, response) =>
      Boolean(response.writeHead(404, { 'content-type': 'text/plain' }).end('nothing here')),
    );
    await failsToOpen({ url, type: 'http' }, { code: 'protocol_error', says: /404/ });
  });

  it('exits at once', () =>
    failsToOpen(stdio('exit', 3), {
      code: 'connection_lost',
      says: /exited with code 3; stderr: loading \| fatal: no licence found/,
      data: { code: 3, signal: null, stderr: 'loading\nfatal: no licence found' },
    }));

  it('speaks a version that nobody knows', () =>
    failsToOpen(stdio('old-version'), { code: 'unsupported', says: /1999-12-31/ }));

  it('answers with a page for people', async () => {
    const url = await servers.http((_, response) =>
      Boolean(response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>')),
    );
    await failsToOpen({ url, type: 'http' }, { code: 'invalid_response', says: /text\/html/ });
  });

  it('accepts what it should answer', async () => {
    const url = await servers.http((_, response) => Boolean(response.writeHead(202).end()));
    await failsToOpen({ url, type: 'http' }, { code: 'invalid_response', says: /202/ });
  });

  it.each(['stdio', 'http', 'tcp'])('never answers (%s)', async (kind) => {
    const startTimeoutMs = 700;
    const url = async (): Promise<ServerConfig> =>
      kind === 'http'
        ? { url: await servers.http(() => true) }
        : { url: `http://127.0.0.1:${await servers.tcp((socket) => socket.pause())}/mcp` };
    const bad = kind === 'stdio' ? stdio('silent') : await url();
    const troupe = engine({ servers: { bad: { ...bad, startTimeoutMs } } });
    const elapsed = await timeOf(() => troupe.start());
    expect(elapsed).toBeLessThan(startTimeoutMs + LATE_MS);
    await failsToOpen(
      { ...bad, startTimeoutMs },
      { code: 'deadline_exceeded', says: /did not (?:finish initialize|open) in 0.7 s/ },
    );
  });

  it('ends on the probe: it is opened as a legacy one, by one process at a time', async () => {
    const SPEC_LOG = `${directory()}/log`;
    await beside(stdio('exit-on-probe', '', { SPEC_LOG }), async (troupe) => {
      expect(await echo(troupe)).toBe('still here');
      expect(troupe.fleet.connections[1]).toMatchObject({ era: 'legacy', restarts: 0 });
    });
    const starts = logLines(SPEC_LOG).filter((line) => line.startsWith('spawn'));
    expect(starts.map((line) => line.replace(/\d+ /, ''))).toEqual(['spawn beside 0', 'spawn beside 0']);
  });
});

describe('a server that says too much', () => {
  it('floods stdout with garbage', () =>
    beside(stdio('garbage', 10_000_000), async (troupe, { oddities: odd }) => {
      expect(await echo(troupe)).toBe('still here');
      await until(async () => {
        await echo(troupe);
        return odd.length > 0;
      }, 'a report');
      expect(odd[0]).toMatchObject({ server: 'bad', connection: 'bad', error: { server: 'bad' } });
      // Reported at the powers of two only, not a hundred thousand times.
      expect(odd.length).toBeLessThan(40);
    }));

  it('sends a line without end', () =>
    beside(stdio('endless-line', 20_000_000), async (troupe) => {
      expect(await echo(troupe)).toBe('still here');
    }));

  it('answers with a line of 20 MB', () =>
    beside(stdio('big-line', 20_000_000), async (troupe) => {
      const pid = troupe.connection('bad').process?.pid;
      const error = await failureOf(troupe.callTool('bad__fail'));
      expect(error).toMatchObject({ code: 'limit_exceeded', delivery: 'answered', server: 'bad' });
      expect(error.message).toContain('messageBytes');
      expect(await echo(troupe)).toBe('still here');
      expect(troupe.connection('bad').process?.pid).toBe(pid);
    }));

  it('may be allowed to', () =>
    beside({ ...stdio('big-line', 20_000_000), limits: { messageBytes: 64_000_000 } }, async (troupe) => {
      expect((await textOf(troupe.callTool('bad__fail'))).length).toBe(20_000_000);
    }));

  it('answers twice', () =>
    beside(stdio('twice'), async (troupe, { oddities: odd }) => {
      const result = await troupe.callTool('bad__echo', { message: 'once' });
      expect(result).toMatchObject({ content: [{ text: 'once' }] });
      expect(result).not.toHaveProperty('second');
      await until(() => odd.length > 0, 'a report');
      expect(odd[0]?.error.message).toContain('late, doubled or foreign');
    }));

  it('answers what nobody asked', () =>
    beside(stdio('foreign'), async (troupe, { oddities: odd }) => {
      const answers = await Promise.all(
        ['a', 'b', 'c'].map((message) => textOf(troupe.callTool('bad__echo', { message }))),
      );
      expect(answers).toEqual(['a', 'b', 'c']);
      await until(() => odd.length > 0, 'a report');
    }));

  it('answers late', () =>
    beside(stdio('late', 400), async (troupe, { oddities: odd }) => {
      const elapsed = await timeOf(async () => {
        const error = await failureOf(troupe.callTool('bad__fail', {}, { timeoutMs: 100 }));
        expect(error).toMatchObject({ code: 'deadline_exceeded', delivery: 'sent', server: 'bad' });
      });
      expect(elapsed).toBeLessThan(100 + LATE_MS);
      await until(() => odd.length > 0, 'the late answer');
      expect(await echo(troupe)).toBe('still here');
    }));

  it('lets progress go backwards', () =>
    beside(stdio('backwards'), async (troupe, { oddities: odd }) => {
      const seen: number[] = [];
      const done = troupe.callTool('bad__slow', {}, { onProgress: ({ progress }) => seen.push(progress) });
      expect(await textOf(done)).toBe('done');
      expect(seen).toEqual([1, 3, 4]);
      expect(odd[0]?.error.message).toContain('went from 3 to 2');
    }));
});

describe('a server that breaks off', () => {
  it.each([
    ['closes its stdout', 'close-stdout', /closed its stdout/],
    ['exits', 'exit-on-call', /exited with code 7; stderr: panic: out of cheese/],
  ])('%s', (_, mode, says) =>
    beside(stdio(mode), async (troupe, { changes }) => {
      const error = await failureOf(troupe.callTool('bad__fail', {}, { timeoutMs: 10_000 }));
      expect(error).toMatchObject({ code: 'outcome_unknown', delivery: 'sent', server: 'bad' });
      expect(error.message).toMatch(says);
      await until(() => isConnected(troupe, 'bad'), 'the connection');
      expect(changes.find(({ to, server }) => server === 'bad' && to === 'Error')?.error?.message).toMatch(
        says,
      );
      expect(await echo(troupe)).toBe('still here');
    }),
  );

  it('closes its stdin', () =>
    beside(stdio('close-stdin'), async (troupe) => {
      const error = await failureOf(troupe.callTool('bad__fail', {}, { timeoutMs: 300 }));
      expect(error).toMatchObject({ code: 'deadline_exceeded', server: 'bad' });
      // The cancellation could not be written: that is how it is found out.
      await until(async () => (await echo(troupe).catch(() => '')) === 'still here', 'the connection');
    }));

  it('does not end when it is told to', () =>
    beside(stdio('ignore-sigterm'), async (troupe) => {
      const pid = troupe.connection('bad').process?.pid ?? NaN;
      const elapsed = await timeOf(() => troupe.remove('bad'));
      // 500 ms to SIGTERM and 500 ms to SIGKILL.
      expect(elapsed).toBeLessThan(1_000 + LATE_MS);
      expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    }));

  it.each([
    ['accepts a call that it should answer', 202, undefined, 'invalid_response', /202/],
    ['answers a call with a page for people', 200, 'text/html', 'invalid_response', /text\/html/],
    ['answers a call with a gateway error', 502, 'text/html', 'outcome_unknown', /502/],
  ] as const)('%s', async (_, status, type, code, says) => {
    const url = await servers.http((message, response) => {
      if (!isCall(message, 'fail')) return false;
      response
        .writeHead(status, type === undefined ? {} : { 'content-type': type })
        .end(type && '<h1>Hello</h1>');
      return true;
    });
    await beside({ url }, async (troupe) => {
      const error = await failureOf(troupe.callTool('bad__fail'));
      expect(error).toMatchObject({ code, server: 'bad' });
      expect(error.message).toMatch(says);
      expect(await echo(troupe)).toBe('still here');
    });
  });

  it('answers with another id over HTTP', async () => {
    const url = await servers.http((message, response) => {
      if (!isCall(message, 'fail')) return false;
      json(response, { jsonrpc: '2.0', id: 'foreign', result: {} });
      return true;
    });
    await beside({ url }, async (troupe) => {
      const error = await failureOf(troupe.callTool('bad__fail', {}, { timeoutMs: 2_000 }));
      expect(error).toMatchObject({ code: 'invalid_response', server: 'bad' });
      expect(await echo(troupe)).toBe('still here');
    });
  });

  it('leaves the socket half open: each request ends in time, the probe finds it out', async () => {
    let deaf = false;
    const url = await servers.http(() => deaf);
    await beside({ url, probe: { intervalMs: 100, timeoutMs: 200, failures: 2 } }, async (troupe) => {
      expect(await echo(troupe)).toBe('still here');
      deaf = true;
      const elapsed = await timeOf(async () => {
        const error = await failureOf(troupe.callTool('bad__echo', {}, { timeoutMs: 200 }));
        expect(error).toMatchObject({ code: 'deadline_exceeded', delivery: 'sent', server: 'bad' });
      });
      expect(elapsed).toBeLessThan(200 + LATE_MS);
      await until(() => !isConnected(troupe, 'bad'), 'the loss');
      deaf = false;
      await until(async () => (await echo(troupe).catch(() => '')) === 'still here', 'the connection');
    });
  });

  it('sends binary frames over a WebSocket', async () => {
    const web = await startWsServer((socket) => {
      const write = (message: unknown): void => socket.send(JSON.stringify(message));
      const mini = createMiniServer({ revision: '2025-11-25', push: write });
      socket.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString()) as { method?: string; params?: { name?: string } };
        if (message.method === 'tools/call' && message.params?.name === 'fail')
          socket.send(Buffer.from([1, 2, 3, 255]));
        else void mini.receive(message, write);
      });
    });
    try {
      await beside({ url: web.url.href, type: 'ws' }, async (troupe) => {
        const error = await failureOf(troupe.callTool('bad__fail', {}, { timeoutMs: 2_000 }));
        expect(error).toMatchObject({ code: 'outcome_unknown', delivery: 'sent', server: 'bad' });
        expect(error.message).toContain('binary frame');
        await until(async () => (await echo(troupe).catch(() => '')) === 'still here', 'the connection');
      });
    } finally {
      await web.close();
    }
  });
});

describe('a server with odd lists', () => {
  it('has malformed tools among good ones', () =>
    beside(stdio('malformed-tool'), async (troupe, { skipped }) => {
      const { items, failures } = await troupe.listTools({ cache: 'refresh' });
      expect(items.filter(({ server }) => server === 'bad').map(({ originalName }) => originalName)).toEqual([
        'echo',
        'state',
      ]);
      expect(failures).toEqual([]);
      expect(skipped.map(({ server, kind }) => `${server} ${kind}`)).toEqual([
        'bad tools',
        'bad tools',
        'bad tools',
      ]);
      for (const { item, reason } of skipped) expect(item.length + reason.length).toBeGreaterThan(5);
      expect(await echo(troupe)).toBe('still here');
    }));

  it('has hostile and doubled names', () =>
    beside(stdio('names'), async (troupe, { skipped }) => {
      const { items } = await troupe.listTools({ cache: 'refresh', servers: ['bad'] });
      const names = items.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
      for (const original of ['__proto__', 'constructor', 'toString', 'echo']) {
        expect(items.filter(({ originalName }) => originalName === original)).toHaveLength(1);
      }
      // One of the two of that name, and it is told.
      expect(skipped.some(({ item }) => item.includes('echo'))).toBe(true);
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
      expect(Object.keys(Object.prototype)).toEqual([]);
      const proto = items.find(({ originalName }) => originalName === '__proto__')?.name ?? '';
      expect(await failureOf(troupe.callTool(proto, {}))).toMatchObject({ delivery: 'answered' });
      for (const name of ['__proto__', 'constructor', 'hasOwnProperty']) {
        const error = await failureOf(
          troupe.callTool(name, JSON.parse('{"__proto__": {"polluted": true}}') as Json),
        );
        expect(['not_found', 'protocol_error', 'invalid_request']).toContain(error.code);
      }
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
      expect(await echo(troupe)).toBe('still here');
    }));

  it('cannot take or blur the exposed name of another', async () => {
    const troupe = engine({ servers: { a__b: stdio('one-tool', 'echo') } });
    await troupe.start();
    await troupe.listTools();
    await troupe.add('a', stdio('one-tool', 'b__echo'));
    const { items, failures } = await troupe.listTools();
    expect(failures).toEqual([]);
    const exposed = new Map(items.map(({ server, name }) => [server, name]));
    expect(exposed.get('a__b')).toBe('a__b__echo');
    expect(exposed.get('a')).toMatch(/^a__b__echo_[0-9a-f]{8,}$/);
    expect(await textOf(troupe.callTool('a__b__echo', { message: 'mine' }))).toBe('mine');
    expect(await failureOf(troupe.callTool(exposed.get('a') ?? '', {}))).toMatchObject({
      server: 'a',
      delivery: 'answered',
    });
  });

  it('has an invalid URI template', () =>
    beside(stdio('bad-template'), async (troupe, { skipped }) => {
      const { items } = await troupe.listResourceTemplates({ cache: 'refresh', servers: ['bad'] });
      expect(items.map(({ name }) => name)).toEqual(['item']);
      expect(skipped).toMatchObject([{ server: 'bad', kind: 'resourceTemplates' }]);
      expect(await troupe.readResource('mini://item/1', { servers: ['bad'] })).toMatchObject({
        contents: [{ uri: 'mini://item/1' }],
      });
    }));

  it.each([
    ['whose pages never end', 'endless-pages', 64, /more than 64 pages/],
    ['whose cursor comes again', 'same-page', 1, /came twice/],
  ] as const)('%s', (_, mode, least, says) =>
    beside(stdio(mode), async (troupe) => {
      const { items, failures } = await troupe.listTools({ timeoutMs: 10_000 });
      expect(items.filter(({ server }) => server === 'bad').length).toBeGreaterThanOrEqual(least);
      expect(failures).toMatchObject([{ server: 'bad', error: { code: 'limit_exceeded', server: 'bad' } }]);
      expect(failures[0]?.error.message).toMatch(says);
    }),
  );

  it('answers a list with something else', async () => {
    const url = await servers.http((message, response) => {
      if (message['method'] !== 'tools/list') return false;
      json(response, { jsonrpc: '2.0', id: message['id'], result: { tools: 'none' } });
      return true;
    });
    await beside({ url }, async (troupe) => {
      const { items, failures } = await troupe.listTools();
      expect(items.every(({ server }) => server === 'good')).toBe(true);
      expect(failures).toMatchObject([{ server: 'bad', error: { code: 'invalid_response', server: 'bad' } }]);
    });
  });
});
