import { describe, expect, it } from '@jest/globals';
import { McpServer } from '@modelcontextprotocol/server';
import type { ServerConfig } from '../../lib/config/config.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { engines, failureOf, hostHearsNothing, pause, textOf, until } from '../support/engines.ts';

hostHearsNothing();
const engine = engines();

/** Two replicas that say which they are; closing one lets its connection fail, and it stays down for a minute. */
function pair(config: ServerConfig = {}, slowMs: () => number = () => 0) {
  const made: McpServer[] = [];
  const calls = [0, 0];
  const replica = { server: () => make() };
  const make = (): McpServer => {
    const number = made.length;
    const server = new McpServer({ name: `r${number}`, version: '1.0.0' });
    server.registerTool('who', { annotations: { readOnlyHint: true } }, async () => {
      calls[number] = (calls[number] ?? 0) + 1;
      await pause(slowMs());
      return { content: [{ type: 'text', text: String(number) }] };
    });
    made.push(server);
    return server;
  };
  const of = engine({
    servers: {
      s: { replicas: [replica, replica], restart: { baseMs: 60_000, capMs: 60_000 }, ...config },
    },
  });
  const close = async (number: number): Promise<void> => {
    await made[number]?.close();
    await until(() => of.fleet.connections.some(({ state }) => state === 'Error'), 'the loss');
  };
  return { of, calls, close };
}

const who = (of: Engine, affinity?: string): Promise<string> =>
  textOf(of.callTool('s__who', {}, { affinity, timeoutMs: 2_000 }));

describe("the caller's own affinity", () => {
  it.each(['legacy', 'modern'] as const)(
    'is no reason to wait for a replica that is down (%s)',
    async (era) => {
      const { of, close } = pair({ era });
      await of.start();
      const first = Number(await who(of, 'k'));
      expect(Number(await who(of, 'k'))).toBe(first);
      await close(first);
      expect(Number(await who(of, 'k'))).toBe(1 - first);
    },
  );

  it('is not lost for good where handles of the server are', async () => {
    const { of, close } = pair({ era: 'legacy', affinity: { by: 'handle', argument: '/h' } });
    await of.start();
    const first = Number(await who(of, 'k'));
    await close(first);
    expect(await failureOf(who(of, 'k'))).toMatchObject({ code: 'affinity_lost' });
    await pause(5);
    expect(Number(await who(of, 'k'))).toBe(1 - first);
  });

  it('does not send a request in circles when its replica has no room', async () => {
    const { of } = pair(
      { adaptive: true, maxInFlight: 1, admission: { maxQueue: 0 }, retry: false },
      () => 200,
    );
    await of.start();
    const answers = await Promise.allSettled([who(of, 'k'), who(of, 'k')]);
    const refused = answers.filter(({ status }) => status === 'rejected');
    expect(refused).toMatchObject([{ reason: { code: 'queue_full', delivery: 'unsent' } }]);
  });
});

describe('a hedge', () => {
  it('is no second request to the replica that is slow', async () => {
    let slow = 0;
    const { of, calls, close } = pair(
      { trusted: true, hedge: { minSamples: 5, budgetRatio: 1 } },
      () => slow,
    );
    await of.start();
    for (let i = 0; i < 20; i += 1) await of.callTool('s__who', { i });
    await close(1);
    slow = 200;
    calls[0] = 0;
    for (let i = 0; i < 3; i += 1) await of.callTool('s__who', { i });
    expect(calls[0]).toBe(3);
  });
});
