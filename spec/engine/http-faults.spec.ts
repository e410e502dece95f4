import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import { engines, failureOf, hostHearsNothing, pause, textOf, until } from '../support/engines.ts';

hostHearsNothing();
const make = engines();

interface Message {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: { readonly name?: string };
}

interface Asked {
  readonly message: Message;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Answers with this JSON. */
  readonly say: (body: Json, status?: number, headers?: Record<string, string>) => void;
}

const CLOSERS: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of CLOSERS.splice(0)) await close();
});

/** A server of 2025-11-25 as people write them by hand. What `first` answers (true) is not its own business. */
async function handmade(first: (asked: Asked) => boolean) {
  const counts = new Map<string, number>();
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      response.writeHead(405).end();
      return;
    }
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => (text += piece));
    request.on('end', () => {
      const message = JSON.parse(text) as Message;
      const method = message.method ?? 'answer';
      counts.set(method, (counts.get(method) ?? 0) + 1);
      const say: Asked['say'] = (body, status = 200, headers = {}) =>
        void response
          .writeHead(status, { 'content-type': 'application/json', ...headers })
          .end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...body }));
      if (first({ message, request, response, say })) return;
      if (message.id === undefined || message.method === undefined) response.writeHead(202).end();
      else if (method === 'initialize')
        say({
          result: {
            protocolVersion: '2025-11-25',
            capabilities: { tools: {} },
            serverInfo: { name: 'handmade', version: '1.0.0' },
          },
        });
      else if (method === 'tools/list')
        say({ result: { tools: ['t', 'slow'].map((name) => ({ name, inputSchema: { type: 'object' } })) } });
      else if (method === 'tools/call') say({ result: { content: [{ type: 'text', text: 'done' }] } });
      else if (method === 'ping') say({ result: {} });
      else say({ error: { code: -32_601, message: 'Method not found' } });
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  CLOSERS.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  );
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    count: (method: string) => counts.get(method) ?? 0,
    /** No new connection is taken; what runs goes on. */
    drain: () => void server.close(),
  };
}

/** Gives out sessions, and forgets them when told to. */
function sessions() {
  const known = new Set<string>();
  let last = 0;
  return {
    forget: () => known.clear(),
    opens: ({ message, say }: Asked): boolean => {
      if (message.method !== 'initialize') return false;
      last += 1;
      known.add(String(last));
      const serverInfo = { name: 'handmade', version: '1.0.0' };
      const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo };
      say({ result }, 200, { 'mcp-session-id': String(last) });
      return true;
    },
    knows: ({ request }: Asked): boolean => known.has(String(request.headers['mcp-session-id'])),
  };
}

const one = (url: string, more: ServerConfig = {}) =>
  make({ servers: { s: { url, type: 'http', retry: false, restart: { baseMs: 20, jitter: 0 }, ...more } } });

describe('a message that meets a full queue', () => {
  it('is forgotten with its failure: nothing goes on for it', async () => {
    const of = await handmade(
      ({ message }) => message.method === 'notifications/cancelled' || message.params?.name === 'slow',
    );
    const engine = one(of.url, { limits: { writeQueueBytes: 2_000, requestIdleMs: 200 } });
    await engine.start();
    await engine.listTools();
    const given = Array.from({ length: 60 }, () =>
      failureOf(engine.callTool('s__slow', {}, { timeoutMs: 50 })),
    );
    for (const error of await Promise.all(given)) expect(error.code).toMatch(/deadline_exceeded|queue_full/);
    // What was to be told when the queue was full would have been given up by now, with nobody to hear of it.
    await pause(400);
    expect(await textOf(engine.callTool('s__t', {}, { timeoutMs: 8_000 }))).toBe('done');
  });
});

describe('what is under way', () => {
  const slow = ({ message, say }: Asked): boolean => {
    if (message.params?.name !== 'slow') return false;
    setTimeout(() => say({ result: { content: [{ type: 'text', text: 'late' }] } }), 400);
    return true;
  };

  it('is answered although new connections are refused', async () => {
    const of = await handmade(slow);
    const engine = one(of.url);
    await engine.start();
    await engine.listTools();
    const running = Array.from({ length: 5 }, () => textOf(engine.callTool('s__slow')));
    await pause(50);
    of.drain();
    const refused = await Promise.all(
      Array.from({ length: 8 }, () => failureOf(engine.callTool('s__slow', {}, { timeoutMs: 200 }))),
    );
    for (const error of refused) expect(error.delivery).toBe('unsent');
    expect(await Promise.all(running)).toEqual(Array.from({ length: 5 }, () => 'late'));
  });

  it('is answered although the credentials of a new call are refused', async () => {
    const of = await handmade((asked) => {
      if (asked.message.params?.name !== 't') return slow(asked);
      asked.response.writeHead(401).end();
      return true;
    });
    const engine = one(of.url);
    await engine.start();
    await engine.listTools();
    const running = Array.from({ length: 5 }, () => textOf(engine.callTool('s__slow')));
    await pause(50);
    expect(await failureOf(engine.callTool('s__t'))).toMatchObject({
      code: 'auth_required',
      delivery: 'unsent',
    });
    expect(engine.connection('s').state).toBe('AuthRequired');
    // Another session does not wait for them.
    await engine.authorize('s');
    expect(engine.connection('s').state).toBe('Connected');
    expect(await Promise.all(running)).toEqual(Array.from({ length: 5 }, () => 'late'));
  });

  it('does not hold up a stop', async () => {
    const of = await handmade(({ message }) => message.params?.name === 'slow');
    const engine = one(of.url);
    await engine.start();
    await engine.listTools();
    const running = failureOf(engine.callTool('s__slow'));
    await pause(50);
    of.drain();
    await failureOf(engine.callTool('s__slow', {}, { timeoutMs: 200 }));
    const from = performance.now();
    await engine.stop({ graceMs: 100 });
    expect(performance.now() - from).toBeLessThan(3_000);
    expect(await running).toMatchObject({ code: 'outcome_unknown', delivery: 'sent' });
  });
});

describe('a session that the server does not know any more', () => {
  it.each([
    [-32_000, 'Session not found'],
    [-32_600, 'Unknown session'],
    [-32_001, 'Unknown or expired id'],
  ])('is given up where it says so with our id (%i, %s)', async (code, message) => {
    const { forget, opens, knows } = sessions();
    const of = await handmade((asked) => {
      if (opens(asked)) return true;
      if (knows(asked) || asked.message.method === 'server/discover') return false;
      if (asked.message.id === undefined) asked.response.writeHead(404).end();
      else asked.say({ error: { code, message } }, 404);
      return true;
    });
    const engine = one(of.url);
    await engine.start();
    expect(await textOf(engine.callTool('s__t'))).toBe('done');
    forget();
    // The first may have been about the request; the second is not believed to be.
    for (let i = 0; i < 2; i += 1) await failureOf(engine.callTool('s__t'));
    await until(() => of.count('initialize') === 2, 'a new session');
    expect(await textOf(engine.callTool('s__t'))).toBe('done');
  });

  it('is not given up over what a tool says of sessions of its own, however often', async () => {
    const { opens } = sessions();
    const of = await handmade((asked) => {
      if (opens(asked)) return true;
      if (asked.message.params?.name === 'slow') {
        setTimeout(() => asked.say({ result: { content: [{ type: 'text', text: 'late' }] } }), 300);
        return true;
      }
      if (asked.message.params?.name !== 't') return false;
      asked.say({ error: { code: -32_602, message: 'unknown browser session "abc"' } }, 404);
      return true;
    });
    const engine = one(of.url);
    await engine.start();
    await engine.listTools();
    const running = textOf(engine.callTool('s__slow'));
    for (let i = 0; i < 3; i += 1)
      expect(await failureOf(engine.callTool('s__t'))).toMatchObject({ code: 'protocol_error' });
    expect(await running).toBe('late');
    expect(of.count('initialize')).toBe(1);
  });

  it('is opened where a server that had none asks for one', async () => {
    let asks = false;
    const { opens, knows } = sessions();
    const of = await handmade((asked) => {
      if (!asks || asked.message.method === 'server/discover') return false;
      if (opens(asked)) return true;
      if (knows(asked)) return false;
      asked.say(
        { id: null, error: { code: -32_000, message: 'Bad Request: Mcp-Session-Id header is required' } },
        400,
      );
      return true;
    });
    const engine = one(of.url, { retry: {} });
    await engine.start();
    expect(await textOf(engine.callTool('s__t'))).toBe('done');
    asks = true;
    expect(await textOf(engine.callTool('s__t', {}, { timeoutMs: 5_000 }))).toBe('done');
    expect(of.count('initialize')).toBe(2);
  });
});

describe('a legacy server that stumbles over the probe', () => {
  it.each<[string, (asked: Asked) => void]>([
    ['with 500', ({ response }) => void response.writeHead(500).end()],
    ['and says nothing', () => {}],
    [
      'and only opens a stream',
      ({ response }) => response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
    ],
  ])('%s is asked what it knows', async (_what, stumble) => {
    const of = await handmade((asked) => {
      if (asked.message.method !== 'server/discover') return false;
      stumble(asked);
      return true;
    });
    const engine = one(of.url, { startTimeoutMs: 2_000 });
    await engine.start();
    expect(await textOf(engine.callTool('s__t', {}, { timeoutMs: 8_000 }))).toBe('done');
    expect([of.count('server/discover'), of.count('initialize')]).toEqual([1, 1]);
  });
});
