import { createMemoryPair } from '../../../lib/mcp/transports/memory-pair.ts';
import type { EngineConfig, ServerConfig } from '../../../lib/config/config.ts';
import type { Engine } from '../../../lib/engine/contract.ts';
import { createMiniServer } from '../mini-server.mjs';
import { wrong, type BadInput, type Bench } from './case.ts';

/** A healthy server in our own process. */
export const mini = (): ServerConfig => ({
  transport() {
    const [client, own] = createMemoryPair();
    const write = (message: unknown): void => void own.send(message as never);
    const server = createMiniServer({ revision: '2025-11-25', push: write });
    Object.assign(own, { onmessage: (message: unknown) => void server.receive(message, write) });
    void own.start();
    return client;
  },
});

export async function running(bench: Bench, config: EngineConfig = {}): Promise<Engine> {
  const url = await bench.http(() => false);
  const engine = bench.engine({ ...config, servers: { s: { url, type: 'http' }, local: mini() } });
  await engine.start();
  return engine;
}

const circular: Record<string, unknown> = {};
circular['self'] = circular;

/** What is asked, and how the host gets it wrong. */
const CALLS: ReadonlyArray<
  readonly [string, (engine: Engine, secret: string) => unknown, BadInput['code'], RegExp]
> = [
  ['no name for a tool', (e) => e.callTool(wrong(undefined)), 'invalid_request', /name of the tool/],
  ['an empty name for a tool', (e) => e.callTool(''), 'invalid_request', /name of the tool/],
  ['a number for a tool', (e) => e.callTool(wrong(7)), 'invalid_request', /name of the tool/],
  ['an object for a URI', (e) => e.readResource(wrong({})), 'invalid_request', /URI/],
  ['null for a prompt', (e) => e.getPrompt(wrong(null)), 'invalid_request', /prompt/],
  ['no reference', (e) => e.complete(wrong(undefined), { name: 'a', value: '' }), 'invalid_request', /ref/],
  [
    'a reference to a tool',
    (e) => e.complete({ type: 'ref/tool' }, { name: 'a', value: '' }),
    'invalid_request',
    /ref\.type/,
  ],
  ['no request', (e) => e.request(wrong(undefined)), 'invalid_request', /method/],
  ['an empty method', (e) => e.request({ method: '' }), 'invalid_request', /method/],
  ['a text for a batch', (e) => e.batch(wrong('no')), 'invalid_request', /array/],
  ['no listener', (e) => e.subscribeResource('mini://a', wrong('no')), 'invalid_request', /listener/],
  [
    'no listener of events',
    (e) => e.on('connection.changed', wrong(undefined)),
    'invalid_request',
    /listener|function/,
  ],
  ['a cycle in arguments', (e) => e.callTool('s__echo', circular), 'invalid_request', /argument|JSON/],
  [
    'a BigInt in arguments',
    (e, secret) => e.callTool('s__echo', { n: 1n, secret }),
    'invalid_request',
    /argument|JSON/,
  ],
  ['a list for arguments', (e) => e.callTool('s__echo', wrong([])), 'invalid_request', /argument/],
  ['null for arguments', (e) => e.callTool('s__echo', wrong(null)), 'invalid_request', /argument/],
  [
    'a text for arguments',
    (e, secret) => e.callTool('s__echo', wrong(secret)),
    'invalid_request',
    /argument/,
  ],
  [
    'a toJSON that throws',
    (e) =>
      e.callTool('s__echo', {
        toJSON: () => {
          throw new Error('no');
        },
      }),
    'invalid_request',
    /argument|JSON/,
  ],
  ...[NaN, -1, 0, 2 ** 31, Infinity, '5'].map((timeoutMs): (typeof CALLS)[number] => [
    `timeoutMs: ${timeoutMs} (${typeof timeoutMs})`,
    (e) => e.callTool('s__echo', {}, { timeoutMs: wrong(timeoutMs) }),
    'invalid_request',
    /timeoutMs/,
  ]),
  ...[NaN, -1, 2 ** 31, '5'].map((graceMs): (typeof CALLS)[number] => [
    `graceMs: ${graceMs} (${typeof graceMs})`,
    (e) => e.stop({ graceMs: wrong(graceMs) }),
    'invalid_request',
    /graceMs/,
  ]),
  [
    'initialize as a request',
    (e) => e.request({ method: 'initialize', server: 's' }),
    'invalid_request',
    /start\(\)/,
  ],
  [
    'a signal that is aborted',
    (e) => e.callTool('s__echo', {}, { signal: AbortSignal.abort() }),
    'cancelled',
    /abort|cancel/i,
  ],
  ['an unknown tool', (e) => e.callTool('s__nothing'), 'not_found', /s__nothing/],
  ['a tool called __proto__', (e) => e.callTool('__proto__'), 'not_found', /__proto__/],
  ['an unknown resource', (e) => e.readResource('nothing://here'), 'not_found', /nothing:|not found/],
  ['an unknown server', (e) => e.listTools({ servers: ['nope'] }), 'not_found', /nope/],
  ['an unknown connection', (e) => e.connection('nope'), 'not_found', /nope/],
  ['a server to remove that is not there', (e) => e.remove('nope'), 'not_found', /nope/],
  [
    'authorize() of a server that is not there',
    (e, token) => e.authorize('nope', { token }),
    'not_found',
    /nope/,
  ],
  [
    'authorize() of a server without an address',
    (e, token) => e.authorize('local', { token }),
    'unsupported',
    /address/,
  ],
  ['approve() where nothing is pinned', (e) => e.approve('s'), 'unsupported', /pinning/],
  ['verifyAudit() without an audit trail', (e) => e.verifyAudit(), 'unsupported', /audit/],
  [
    'a policy for an engine without one',
    (e) => e.reconfigure({ servers: { s: mini() }, policy: [] }),
    'config_invalid',
    /policy/,
  ],
  [
    'an unknown reducer',
    (e) => e.aggregate({ method: 'tools/list', reduce: wrong('sum') }),
    'invalid_request',
    /sum|reduce/,
  ],
  ['a call after the end', (e) => e.stop().then(() => e.callTool('s__echo')), 'stopped', /stopped/],
  ['a start after the end', (e) => e.stop().then(() => e.start()), 'stopped', /stopped/],
];

/** A policy of the host's own that does not decide. */
const POLICIES: ReadonlyArray<readonly [string, () => unknown]> = [
  [
    'throws',
    () => {
      throw new Error('a defect of the host');
    },
  ],
  ['rejects', () => Promise.reject(new Error('a defect of the host'))],
  ['answers nothing', () => undefined],
  ['answers null', () => null],
  ['answers a word', () => 'allow'],
  ['answers true', () => true],
  ['answers an effect nobody knows', () => ({ effect: 'perhaps', ruleId: 'x', ruleSource: 'policy' })],
];

export const HOST_CASES: readonly BadInput[] = [
  ...CALLS.map(([name, ask, code, says]): BadInput => ({
    name: `a host gives ${name}`,
    code,
    says,
    run: async (bench) => ask(await running(bench), bench.secrets.given),
  })),
  ...POLICIES.map(([name, decide]): BadInput => ({
    name: `a policy ${name}: nothing is allowed`,
    code: ['denied', 'not_found'],
    says: /s__echo|policy/,
    run: async (bench) =>
      (await running(bench, { policy: wrong({ decide }) })).callTool('s__echo', { message: 'x' }),
  })),
  {
    name: 'a policy is empty and secure: nothing is allowed',
    code: ['denied', 'not_found'],
    says: /s__echo|policy/,
    run: async (bench) =>
      (await running(bench, { policy: [], secure: true })).callTool('s__echo', { message: 'x' }),
  },
  {
    name: 'a host answers an interceptor with a throw',
    code: 'internal',
    says: /a defect of the host/,
    run: async (bench) =>
      (
        await running(bench, {
          interceptors: [
            () => () => {
              throw new Error('a defect of the host');
            },
          ],
        })
      ).callTool('s__echo'),
  },
];
