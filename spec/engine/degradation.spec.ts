import { describe, expect, it, jest } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { DEGRADATIONS, degradationTable, type DegradationId } from '../support/degradation.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  pause,
  textOf,
  timeOf,
  until,
} from '../support/engines.ts';
import type { FlakyHttp } from '../support/flaky-http.mjs';
import { flakyHttps } from '../support/flaky.ts';
import { TOOLS } from '../support/flaky-server.mjs';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();

const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const call = (of: Engine, server: string, options = {}): Promise<string> =>
  textOf(of.callTool(`${server}__act`, { nonce: 'n' }, options));

/** "ill" is the one that is not well, "well" is what must not notice. */
async function pair(settings: ServerConfig = {}, prepare: (ill: FlakyHttp) => void = () => {}) {
  const [ill, well] = [await http({ name: 'ill' }), await http({ name: 'well' })];
  prepare(ill);
  const troupe = engine({ servers: { ill: { url: ill.url, ...settings }, well: { url: well.url } } });
  const skipped = heard(troupe, 'catalog.item_skipped');
  const asked = heard(troupe, 'auth.required');
  await troupe.start();
  await Promise.all([troupe.listTools(), troupe.listResources(), troupe.listPrompts()]);
  const row = () => troupe.fleet.connections.find(({ id }) => id === 'ill');
  return { troupe, ill, row, skipped, asked };
}

const ofIll = <T extends { readonly server: string }>(items: readonly T[]): T[] =>
  items.filter(({ server }) => server === 'ill');

const specs: Readonly<Record<DegradationId, () => Promise<void>>> = {
  async down() {
    const { troupe, ill, row } = await pair({ retry: false });
    ill.hints = () => ({ ttlMs: 1 });
    const read = async () => troupe.readResource('mini://a', { servers: ['ill'] });
    const before = await read();
    await pause(5);
    await ill.kill();
    const error = await failureOf(call(troupe, 'ill'));
    expect(error).toMatchObject({ code: 'unavailable', delivery: 'unsent', server: 'ill' });
    expect(error.message).toContain('ECONNREFUSED');
    await until(() => row()?.state === 'Error', 'the loss');
    expect(await call(troupe, 'well')).toContain('by well');
    const { items, failures } = await troupe.listTools();
    expect(failures).toMatchObject([{ server: 'ill' }]);
    expect(ofIll(items).map(({ stale }) => stale)).toEqual(TOOLS.map(() => true));
    expect(items.filter(({ server, stale }) => server === 'well' && stale === undefined)).toHaveLength(
      TOOLS.length,
    );
    expect(await read()).toEqual(before);
    await ill.restart();
    await until(() => isConnected(troupe, 'ill'), 'the connection');
    expect(await call(troupe, 'ill')).toContain('by ill');
  },

  async slow() {
    const { troupe, ill } = await pair({ breaker: { consecutive: 3, openMs: 60_000 } });
    ill.order = ({ method }) => (method === 'tools/call' ? { hang: true } : undefined);
    for (const _ of times(3)) {
      expect(await failureOf(call(troupe, 'ill', { timeoutMs: 200 }))).toMatchObject({
        code: 'deadline_exceeded',
        server: 'ill',
      });
    }
    await until(() => ill.cancelled.length === 3, 'the calls to be cancelled at the server');
    let refused: unknown;
    const elapsed = await timeOf(
      async () => (refused = await failureOf(call(troupe, 'ill', { timeoutMs: 10_000 }))),
    );
    expect(refused).toMatchObject({
      code: 'circuit_open',
      delivery: 'unsent',
      retryAfterMs: expect.any(Number),
    });
    expect(elapsed).toBeLessThan(2_000);
    expect(await call(troupe, 'well')).toContain('by well');
    expect((await troupe.listTools()).failures).toEqual([]);
  },

  async unauthenticated() {
    const { troupe, ill, row, asked } = await pair();
    ill.refuse = () => ({ status: 401 });
    expect(await failureOf(call(troupe, 'ill'))).toMatchObject({ code: 'auth_required', server: 'ill' });
    await until(() => row()?.state === 'AuthRequired', 'the state');
    expect(asked).toMatchObject([{ server: 'ill', error: { code: 'auth_required' } }]);
    expect(await call(troupe, 'well')).toContain('by well');
    const { items, failures } = await troupe.listTools();
    expect(failures).toMatchObject([{ server: 'ill', error: { code: 'auth_required' } }]);
    expect(ofIll(items).map(({ stale }) => stale)).toEqual(TOOLS.map(() => true));
    ill.refuse = undefined;
    await troupe.authorize('ill');
    expect(await call(troupe, 'ill')).toContain('by ill');
  },

  async limited() {
    const { troupe, ill, row } = await pair();
    const limit = (seconds: string, until: () => boolean) => {
      ill.refuse = ({ method }) =>
        method === 'tools/call' && !until()
          ? { status: 429, headers: { 'retry-after': seconds } }
          : undefined;
    };
    let refused = 0;
    limit('0.2', () => refused++ > 0);
    expect(await timeOf(() => call(troupe, 'ill'))).toBeGreaterThanOrEqual(195);
    expect(ill.runs).toHaveLength(1);
    limit('60', () => false);
    for (const _ of times(10)) {
      const error = await failureOf(call(troupe, 'ill', { timeoutMs: 10_000 }));
      expect(error).toMatchObject({
        code: 'rate_limited',
        delivery: 'unsent',
        server: 'ill',
        retryAfterMs: 60_000,
      });
    }
    expect(ill.runs).toHaveLength(1);
    expect(row()).toMatchObject({ state: 'Connected', availability: 'usable', breaker: 'closed' });
    expect(await call(troupe, 'well')).toContain('by well');
  },

  async 'bad-tool'() {
    const { troupe, skipped } = await pair({}, (ill) => {
      ill.tools = [{ name: 'shapeless', inputSchema: 'any' }, ...TOOLS];
    });
    expect(skipped).toMatchObject([
      { server: 'ill', kind: 'tools', item: expect.stringContaining('shapeless') },
    ]);
    expect(skipped[0]?.reason).not.toBe('');
    const { items, failures } = await troupe.listTools();
    expect(failures).toEqual([]);
    expect(ofIll(items).map(({ originalName }) => originalName)).toEqual(TOOLS.map(({ name }) => name));
    expect((await failureOf(troupe.callTool('ill__shapeless'))).code).toBe('not_found');
    expect(await call(troupe, 'ill')).toContain('by ill');
  },

  async 'lists-fail'() {
    const { troupe, ill } = await pair({ retry: false });
    ill.order = ({ method }) =>
      method === 'tools/list' ? { error: { code: -32_603, message: 'no list' } } : undefined;
    const { items, failures } = await troupe.listTools({ cache: 'refresh' });
    expect(failures).toMatchObject([{ server: 'ill', error: { code: 'protocol_error' } }]);
    expect(ofIll(items).map(({ stale }) => stale)).toEqual(TOOLS.map(() => true));
    expect((await troupe.listPrompts({ cache: 'refresh' })).failures).toEqual([]);
    expect(await call(troupe, 'ill')).toContain('by ill');
    expect(await call(troupe, 'well')).toContain('by well');
  },
};

describe('when a server is not well', () => {
  it.each(DEGRADATIONS)('$condition: $works', ({ id }) => specs[id]());
});

describe('the table of the README', () => {
  it('has a line for each condition, with three cells', () => {
    const [, , ...lines] = degradationTable().trimEnd().split('\n');
    expect(lines).toHaveLength(DEGRADATIONS.length);
    for (const line of lines) expect(line.split(/(?<!\\)\|/)).toHaveLength(5);
  });
});
