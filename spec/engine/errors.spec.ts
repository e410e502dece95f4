import { describe, expect, it, jest } from '@jest/globals';
import { ERROR_CODES, TroupeError, type Delivery, type ErrorCode } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { badServers, isCall, json } from '../support/bad-http.ts';
import { engines, failureOf, heard, hostHearsNothing, stdio, textOf, until } from '../support/engines.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const servers = badServers();

const kill = (troupe: Engine, id: string): void => {
  const pid = troupe.connection(id).process?.pid;
  if (pid === undefined) throw new Error(`${id} has no process`);
  process.kill(pid, 'SIGKILL');
};
const sent = (troupe: Engine): Promise<void> =>
  until(() => (troupe.fleet.connections[0]?.inFlight ?? 0) > 0, 'the request');

/** Asks for something, and gives the error that it ends with. */
type Situation = () => Promise<TroupeError>;

const SITUATIONS: Readonly<
  Record<ErrorCode, { readonly delivery: Delivery; readonly server?: string; readonly happens: Situation }>
> = {
  cancelled: {
    delivery: 'sent',
    server: 's',
    async happens() {
      const troupe = engine({ servers: { s: stdio('good') } });
      const controller = new AbortController();
      const error = failureOf(troupe.callTool('s__hang', {}, { signal: controller.signal }));
      await sent(troupe);
      controller.abort();
      return error;
    },
  },
  deadline_exceeded: {
    delivery: 'sent',
    server: 's',
    async happens() {
      const troupe = engine({ servers: { s: stdio('good') } });
      await troupe.listTools();
      return failureOf(troupe.callTool('s__hang', {}, { timeoutMs: 100 }));
    },
  },
  unavailable: {
    delivery: 'unsent',
    server: 's',
    happens: () => failureOf(engine({ servers: { s: stdio('exit', 3) } }).callTool('s__echo')),
  },
  connection_lost: {
    delivery: 'sent',
    server: 's',
    async happens() {
      const troupe = engine({ servers: { s: { ...stdio('mute'), retry: false } } });
      await troupe.start();
      const error = failureOf(troupe.readResource('mini://a'));
      await sent(troupe);
      kill(troupe, 's');
      return error;
    },
  },
  outcome_unknown: {
    delivery: 'sent',
    server: 's',
    async happens() {
      const troupe = engine({ servers: { s: stdio('mute') } });
      await troupe.start();
      const error = failureOf(troupe.callTool('s__echo'));
      await sent(troupe);
      kill(troupe, 's');
      return error;
    },
  },
  circuit_open: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const breaker = { consecutive: 2, openMs: 60_000 };
      const troupe = engine({ servers: { s: { ...stdio('mute'), breaker, timeoutMs: 150 } } });
      await troupe.start();
      await troupe.listTools();
      let error = await failureOf(troupe.callTool('s__echo'));
      for (let i = 0; i < 5 && error.code === 'deadline_exceeded'; i += 1)
        error = await failureOf(troupe.callTool('s__echo'));
      return error;
    },
  },
  queue_full: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const troupe = engine({
        servers: { s: { ...stdio('good'), maxInFlight: 1, admission: { maxQueue: 1 } } },
      });
      await troupe.listTools();
      const calls = [1, 2, 3].map(() => failureOf(troupe.callTool('s__hang', {}, { timeoutMs: 1_000 })));
      return Promise.race(calls);
    },
  },
  rate_limited: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const troupe = engine({
        servers: { s: { ...stdio('good'), rateLimit: { perSecond: 0.01, burst: 1 } } },
      });
      await troupe.callTool('s__echo', {});
      return failureOf(troupe.callTool('s__echo', {}, { timeoutMs: 1_000 }));
    },
  },
  not_found: {
    delivery: 'unsent',
    happens: () => failureOf(engine({ servers: { s: stdio('good') } }).callTool('s__nothing')),
  },
  ambiguous_name: {
    delivery: 'unsent',
    async happens() {
      const troupe = engine({ naming: 'transparent', servers: { s: stdio('good'), t: stdio('good') } });
      await troupe.start();
      await troupe.listTools();
      return failureOf(troupe.callTool('echo'));
    },
  },
  invalid_request: {
    delivery: 'unsent',
    happens: () => failureOf(engine({ servers: { s: stdio('good') } }).callTool('s__echo', [] as never)),
  },
  invalid_response: {
    delivery: 'answered',
    server: 's',
    happens: () =>
      failureOf(engine({ servers: { s: stdio('good') } }).callTool('s__structured', { good: false })),
  },
  limit_exceeded: {
    delivery: 'answered',
    server: 's',
    happens: () =>
      failureOf(
        engine({
          servers: { s: { ...stdio('big-line', 200_000), limits: { messageBytes: 100_000 } } },
        }).callTool('s__fail'),
      ),
  },
  denied: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const troupe = engine({
        host: { elicit: () => ({ action: 'accept' }) },
        servers: { s: stdio('asker') },
      });
      const asked = heard(troupe, 'server.asked');
      const prompt = JSON.stringify({
        method: 'elicitation/create',
        params: { mode: 'url', url: 'http://phish.example/', elicitationId: '1', message: 'log in' },
      });
      expect(await textOf(troupe.callTool('s__ask', { prompt }))).toContain('https');
      return asked[0]?.error ?? new TroupeError('internal', 'nothing was refused');
    },
  },
  auth_required: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const url = await servers.http(
        (message, response) =>
          isCall(message, 'echo') && Boolean(response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()),
      );
      return failureOf(engine({ servers: { s: { url } } }).callTool('s__echo'));
    },
  },
  protocol_error: {
    delivery: 'answered',
    server: 's',
    async happens() {
      const url = await servers.http((message, response) => {
        if (!isCall(message, 'echo')) return false;
        json(response, {
          jsonrpc: '2.0',
          id: message['id'],
          error: { code: -32_050, message: 'out of cheese', data: { left: 0 } },
        });
        return true;
      });
      const error = await failureOf(engine({ servers: { s: { url } } }).callTool('s__echo'));
      expect(error.data).toMatchObject({ code: -32_050, data: { left: 0 } });
      return error;
    },
  },
  unsupported: {
    delivery: 'answered',
    server: 's',
    happens: () =>
      failureOf(engine({ servers: { s: stdio('good') } }).request({ method: 'vendor/unknown', server: 's' })),
  },
  affinity_lost: {
    delivery: 'unsent',
    server: 's',
    async happens() {
      const replicas = [stdio('good'), stdio('good', 'again')];
      const troupe = engine({
        servers: {
          s: {
            replicas,
            affinity: { by: 'session', mode: 'strict', onLoss: 'fail' },
            restart: { baseMs: 60_000, capMs: 60_000 },
          },
        },
      });
      await troupe.start();
      const affinity = 'conversation-1';
      const { pid } = JSON.parse(await textOf(troupe.callTool('s__state', {}, { affinity }))) as {
        pid: number;
      };
      process.kill(pid, 'SIGKILL');
      await until(() => troupe.fleet.connections.some(({ state }) => state === 'Error'), 'the loss');
      return failureOf(troupe.callTool('s__state', {}, { affinity }));
    },
  },
  config_invalid: {
    delivery: 'unsent',
    server: 's',
    happens: () =>
      failureOf((async () => engine({ servers: { s: { command: 'x', url: 'http://127.0.0.1/' } } }))()),
  },
  stopped: {
    delivery: 'unsent',
    async happens() {
      const troupe = engine({ servers: {} });
      await troupe.stop();
      return failureOf(troupe.listTools());
    },
  },
  internal: {
    delivery: 'unsent',
    happens() {
      const fault = (): never => {
        throw new TypeError('a defect of the host');
      };
      return failureOf(
        engine({ interceptors: [() => fault], servers: { s: stdio('good') } }).callTool('s__echo'),
      );
    },
  },
};

describe('an error of the engine', () => {
  it.each(ERROR_CODES)('says %s where it happens', async (code) => {
    const { delivery, server, happens } = SITUATIONS[code];
    const error = await happens();
    expect(error).toBeInstanceOf(TroupeError);
    expect(error).toMatchObject({ name: 'TroupeError', code, delivery });
    if (server !== undefined) expect(error.server).toBe(server);
    // The message alone is useful in a log: one line, with the code and the place.
    expect(error.message).toMatch(
      server === undefined ? new RegExp(`^\\[${code}\\] .`) : new RegExp(`^\\[${code}\\] s(?:#\\d)?: .`),
    );
    expect(error.message).not.toMatch(/[\r\n\t]/);
    const plain = JSON.parse(JSON.stringify(error)) as Json;
    expect(plain).toMatchObject({ code, delivery, message: error.message });
  });
});

describe('an error told to a server', () => {
  it('is rate_limited for its fifth request at once', async () => {
    const waiting: Array<() => void> = [];
    const troupe = engine({
      host: {
        sample: () =>
          new Promise<Json>((resolve) => {
            waiting.push(() =>
              resolve({ role: 'assistant', model: 'm', content: { type: 'text', text: 'la' } }),
            );
          }),
      },
      servers: { s: stdio('asker') },
    });
    const asked = heard(troupe, 'server.asked');
    const params = { messages: [{ role: 'user', content: { type: 'text', text: 'sing' } }], maxTokens: 5 };
    const prompt = JSON.stringify({ method: 'sampling/createMessage', params, times: 5 });
    const answers = textOf(troupe.callTool('s__ask', { prompt }));
    await until(() => waiting.length === 4 && asked.length === 1, 'four to wait');
    expect(asked[0]).toMatchObject({ ok: false, server: 's', error: { code: 'rate_limited', server: 's' } });
    for (const answer of waiting) answer();
    const all = JSON.parse(await answers) as Array<{ code?: number; message?: string; model?: string }>;
    expect(all.filter(({ model }) => model === 'm')).toHaveLength(4);
    expect(all.filter(({ message }) => message?.includes('more than 4'))).toHaveLength(1);
  });

  it('is told what the host does not offer', async () => {
    const troupe = engine({ servers: { s: stdio('asker') } });
    const prompt = JSON.stringify({
      method: 'sampling/createMessage',
      params: { messages: [], maxTokens: 5 },
    });
    const [answer] = JSON.parse(await textOf(troupe.callTool('s__ask', { prompt }))) as Array<{
      code?: number;
    }>;
    expect(answer?.code).toBe(-32_601);
  });
});
