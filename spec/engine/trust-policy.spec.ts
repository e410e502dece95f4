import { describe, expect, it } from '@jest/globals';
import type { EngineConfig } from '../../lib/config/config.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import type { FanOutResult } from '../../lib/engine/fan-out.ts';
import type { Decision, PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { engines, failureOf, pause, textOf } from '../support/engines.ts';
import { startMiniHttp } from '../support/mini-http.mjs';
import { createScriptedPeer } from '../support/scripted-peer.ts';

const ALICE = { principal: 'alice' } as const;
const BOB = { principal: 'bob' } as const;

const RULES: readonly PolicyRule[] = [
  { effect: 'allow', principals: ['alice'], servers: ['mini'], tools: ['echo', 'ask'] },
  { effect: 'allow', principals: ['alice'], servers: ['mini'], resources: ['mini://a', 'mini://item/**'] },
  {
    effect: 'allow',
    principals: ['alice'],
    servers: ['mini'],
    operations: ['prompts.get'],
    prompts: ['greet'],
  },
  { effect: 'allow', principals: ['bob'], servers: ['other'] },
];

const rowsOf = (engine: Engine, ...asked: Parameters<Engine['fanOut']>): Promise<FanOutResult[]> =>
  new Promise((resolve, reject) => {
    const rows: FanOutResult[] = [];
    engine.fanOut(...asked).subscribe({
      next: (row) => rows.push(row),
      complete: () => resolve(rows),
      error: reject,
    });
  });

/** Methods of what a peer received. */
const methodsOf = (messages: readonly object[]): unknown[] =>
  messages.map((message) => (message as { method?: unknown }).method);

/** What a caller can tell from an error, the name it asked for taken out. */
const shapeOf = (error: TroupeError, ...names: readonly string[]): string => {
  let text = JSON.stringify({ ...error.toJSON(), keys: Object.keys(error).sort(), cause: error.cause });
  for (const name of names) text = text.replaceAll(name, 'NAME');
  return text;
};

describe.each(['2025-11-25', '2026-07-28'])('policy against servers of %s', (revision) => {
  const make = engines();

  /** Two servers that note what they receive, and an engine that has listed everything. */
  async function fleet(config: Omit<EngineConfig, 'servers'>) {
    const [mini, other] = await Promise.all([startMiniHttp({ revision }), startMiniHttp({ revision })]);
    const engine = make({
      servers: { mini: { url: mini.url }, other: { url: other.url } },
      ...config,
    });
    await engine.start();
    await Promise.all([engine.listTools(), engine.listResources(), engine.listPrompts()]);
    await engine.listResourceTemplates();
    return { mini, other, engine, close: () => Promise.all([mini.close(), other.close()]) };
  }

  it('lets no verb send anything that is denied, and every refusal looks like a name that nobody knows', async () => {
    const { mini, engine, close } = await fleet({ policy: RULES });
    try {
      const greet = { type: 'ref/prompt', name: 'mini__greet' };
      const who = { name: 'who', value: 'a' };
      const at = { ...BOB, servers: ['mini'] };
      const before = mini.seen.length;
      const denied: Record<string, () => Promise<unknown>> = {
        callTool: () => engine.callTool('mini__echo', { message: 'x' }, BOB),
        'callTool at the server': () => engine.callTool('echo', { message: 'x' }, at),
        readResource: () => engine.readResource('mini://a', at),
        'readResource of a template': () => engine.readResource('mini://item/7', at),
        getPrompt: () => engine.getPrompt('mini__greet', { who: 'x' }, BOB),
        'complete a prompt': () => engine.complete(greet, who, BOB),
        'complete a resource': () =>
          engine.complete({ type: 'ref/resource', uri: 'mini://item/{id}' }, who, at),
        subscribeResource: () => engine.subscribeResource('mini://a', () => {}, at),
        listTools: () => engine.listTools(at),
        'request tools/call': () =>
          engine.request({ method: 'tools/call', server: 'mini', params: { name: 'echo' } }, BOB),
        'request tools/list': () => engine.request({ method: 'tools/list', server: 'mini' }, BOB),
        'request resources/subscribe': () =>
          engine.request({ method: 'resources/subscribe', server: 'mini', params: { uri: 'mini://a' } }, BOB),
        'request subscriptions/listen': () =>
          engine.request(
            {
              method: 'subscriptions/listen',
              server: 'mini',
              params: { notifications: { resourceSubscriptions: ['mini://a'] } },
            },
            BOB,
          ),
        'request logging/setLevel': () =>
          engine.request({ method: 'logging/setLevel', server: 'mini', params: { level: 'debug' } }, BOB),
        'request ping': () => engine.request({ method: 'ping', server: 'mini' }, BOB),
        'request of a vendor': () =>
          engine.request({ method: 'vendor/thing', server: 'mini', params: { x: 1 } }, BOB),
      };
      for (const [verb, ask] of Object.entries(denied))
        expect({ verb, code: (await failureOf(ask())).code }).toEqual({ verb, code: 'not_found' });

      const batch = await engine.batch(
        [
          { method: 'tools/call', params: { name: 'mini__echo' } },
          { method: 'tools/call', server: 'mini', params: { name: 'echo' } },
          { method: 'resources/read', server: 'mini', params: { uri: 'mini://a' } },
        ],
        BOB,
      );
      expect(batch.map((row) => (row.ok ? 'ok' : row.error.code))).toEqual(Array(3).fill('not_found'));
      const asked = { method: 'tools/list' };
      expect((await rowsOf(engine, asked, BOB)).map(({ server, ok }) => [server, ok])).toEqual([
        ['other', true],
      ]);
      expect(await rowsOf(engine, { ...asked, servers: ['mini'] }, BOB)).toMatchObject([
        { server: 'mini', ok: false, error: { code: 'not_found' } },
      ]);
      const all = await engine.aggregate({ ...asked, servers: ['mini', 'other'] }, BOB);
      expect(all.failures).toMatchObject([{ server: 'mini', error: { code: 'not_found' } }]);

      expect(mini.seen.length).toBe(before);

      // The same of a server that there is not, and of things that there are not.
      const nowhere = { ...BOB, servers: ['mina'] };
      const pairs: ReadonlyArray<readonly [string, Promise<unknown>, Promise<unknown>]> = [
        ['callTool', engine.callTool('echo', {}, at), engine.callTool('echo', {}, nowhere)],
        ['read', engine.readResource('mini://a', at), engine.readResource('mini://a', nowhere)],
        [
          'watch',
          engine.subscribeResource('mini://a', () => {}, at),
          engine.subscribeResource('mini://a', () => {}, nowhere),
        ],
        ['list', engine.listTools(at), engine.listTools(nowhere)],
        [
          'vendor',
          engine.request({ method: 'vendor/thing', server: 'mini' }, BOB),
          engine.request({ method: 'vendor/thing', server: 'mina' }, BOB),
        ],
      ];
      for (const [verb, hidden, unknown] of pairs) {
        const [a, b] = await Promise.all([failureOf(hidden), failureOf(unknown)]);
        expect([verb, shapeOf(a, '"mini\\"', 'mini')]).toEqual([verb, shapeOf(b, '"mina\\"', 'mina')]);
      }
      const [row] = await rowsOf(engine, { ...asked, servers: ['mini'] }, BOB);
      const [gone] = await rowsOf(engine, { ...asked, servers: ['mina'] }, BOB);
      if (row?.ok !== false || gone?.ok !== false) throw new Error('expected two refusals');
      expect(shapeOf(row.error, 'mini')).toBe(shapeOf(gone.error, 'mina'));

      const hidden = await failureOf(engine.callTool('mini__fail', {}, ALICE));
      const unknown = await failureOf(engine.callTool('mini__sail', {}, ALICE));
      expect(shapeOf(hidden, 'mini__fail')).toBe(shapeOf(unknown, 'mini__sail'));
      expect(mini.seen.length).toBe(before);
    } finally {
      await close();
    }
  });

  it('lists of every kind what may be used and nothing else, whoever asks and however', async () => {
    const { engine, close } = await fleet({ policy: RULES });
    try {
      const names = async (list: Promise<{ items: ReadonlyArray<{ name: string }> }>): Promise<string[]> =>
        (await list).items.map(({ name }) => name).sort();
      expect(await names(engine.listTools(ALICE))).toEqual(['mini__ask', 'mini__echo']);
      expect(await names(engine.listResources(ALICE))).toEqual(['a']);
      expect(await names(engine.listResourceTemplates(ALICE))).toEqual(['item']);
      expect(await names(engine.listPrompts(ALICE))).toEqual(['mini__greet']);
      expect(await names(engine.listResources(BOB))).toEqual(['a', 'b']);
      const raw = await engine.request({ method: 'tools/list', server: 'mini' }, ALICE);
      expect((raw['tools'] as Array<{ name: string }>).map(({ name }) => name)).toEqual(['echo']);
      // What is shown can be used.
      expect(await textOf(engine.callTool('mini__echo', { message: 'x' }, ALICE))).toBe('x');
      await engine.readResource('mini://a', ALICE);
      await engine.readResource('mini://item/7', ALICE);
      await engine.getPrompt('mini__greet', { who: 'x' }, ALICE);
      // Seen, but no completion for it: that is told.
      const refused = await failureOf(
        engine.complete({ type: 'ref/prompt', name: 'mini__greet' }, { name: 'who', value: '' }, ALICE),
      );
      expect(refused).toMatchObject({ code: 'denied', data: { reason: 'policy' } });
    } finally {
      await close();
    }
  });

  it('grants to the host what is configured, shows by which rule, and nothing at all when secure', async () => {
    const open = await fleet({
      policy: [{ id: 'no-fail', effect: 'deny', operations: ['tools.call'], tools: ['fail'] }],
    });
    try {
      expect(await textOf(open.engine.callTool('mini__echo', { message: 'x' }))).toBe('x');
      expect(
        await open.engine.explain({ method: 'tools/call', params: { name: 'mini__echo' } }),
      ).toMatchObject({
        effect: 'allow',
        ruleId: 'config:mini',
        ruleSource: 'servers.mini',
      });
      expect(
        await open.engine.explain({ method: 'tools/call', params: { name: 'mini__fail' } }),
      ).toMatchObject({
        effect: 'deny',
        ruleId: 'no-fail',
      });
      const shown = (await open.engine.listTools()).items.map(({ originalName }) => originalName);
      expect(shown).toContain('echo');
      expect(shown).not.toContain('fail');
      expect(await failureOf(open.engine.callTool('mini__fail'))).toMatchObject({ code: 'not_found' });
    } finally {
      await open.close();
    }
    const secure = await fleet({ secure: true, pinning: false });
    try {
      const before = secure.mini.seen.length;
      expect((await secure.engine.listTools()).items).toEqual([]);
      expect((await secure.engine.listResources()).items).toEqual([]);
      expect(await failureOf(secure.engine.callTool('mini__echo', {}))).toMatchObject({ code: 'not_found' });
      expect(await failureOf(secure.engine.readResource('mini://a'))).toMatchObject({ code: 'not_found' });
      expect(await rowsOf(secure.engine, { method: 'tools/list' })).toEqual([]);
      expect(
        await secure.engine.explain({ method: 'tools/call', params: { name: 'mini__echo' } }),
      ).toMatchObject({
        effect: 'deny',
        ruleId: 'default:deny',
      });
      expect(secure.mini.seen.length).toBe(before);
    } finally {
      await secure.close();
    }
  });

  it('asks the host nothing that the policy does not let a server ask', async () => {
    let asked = 0;
    const sample = (): object => {
      asked += 1;
      return { role: 'assistant', model: 'm', content: { type: 'text', text: 'sampled' } };
    };
    const config = { host: { sample: sample as never } };
    const granted = await fleet(config);
    try {
      expect(await textOf(granted.engine.callTool('mini__ask', { prompt: 'p' }))).toBe('sampled');
      expect(asked).toBe(1);
    } finally {
      await granted.close();
    }
    const refused = await fleet({
      ...config,
      policy: [{ effect: 'deny', operations: ['sampling'], servers: ['mini'] }],
    });
    try {
      const told: unknown[] = [];
      refused.engine.on('server.asked', ({ ok, error }) => told.push([ok, error?.code]));
      const answer = await refused.engine
        .callTool('mini__ask', { prompt: 'p' })
        .then((result) => JSON.stringify(result))
        .catch((error: unknown) => String(error));
      expect(answer).toContain('does not let it ask');
      expect(await textOf(refused.engine.callTool('other__ask', { prompt: 'p' }))).toBe('sampled');
      expect(asked).toBe(2);
      expect(told).toEqual([
        [false, 'denied'],
        [true, undefined],
      ]);
    } finally {
      await refused.close();
    }
  });

  it('does not go to a stand-in that the caller may not use', async () => {
    const { mini, other, engine, close } = await fleet({
      policy: [
        { effect: 'allow', principals: ['alice'], servers: ['mini', 'dear'] },
        { effect: 'allow', principals: ['carol'] },
      ],
    });
    try {
      const reserve = await startMiniHttp({ revision });
      await engine.add('dear', { url: reserve.url, equivalentTo: ['other'] });
      await engine.listTools();
      expect(await textOf(engine.callTool('dear__echo', { message: 'x' }, ALICE))).toBe('x');
      await reserve.close();
      const before = [mini.seen.length, other.seen.length];
      const refused = await failureOf(
        engine.callTool('dear__echo', { message: 'y' }, { ...ALICE, idempotent: true, timeoutMs: 3_000 }),
      );
      expect(refused.code).not.toBe('denied');
      expect([mini.seen.length, other.seen.length]).toEqual(before);
      const helped = await textOf(
        engine.callTool('dear__echo', { message: 'z' }, { principal: 'carol', idempotent: true }),
      );
      expect(helped).toBe('z');
    } finally {
      await close();
    }
  });
});

describe('a policy', () => {
  const make = engines();
  const tools = [
    { name: 'echo', inputSchema: { type: 'object' } },
    { name: 'pay', inputSchema: { type: 'object' } },
  ];
  const peerOf = () => {
    const peer = createScriptedPeer({ tools, resources: [{ uri: 'x://a', name: 'a' }] });
    peer.answer('tools/call', { content: [{ type: 'text', text: 'done' }] });
    peer.answer('resources/read', {
      contents: [{ uri: 'x://a', text: 'a' }],
      ttlMs: 60_000,
      cacheScope: 'public',
    });
    return peer;
  };
  async function engineWith(policy: EngineConfig['policy'], more: Partial<EngineConfig> = {}) {
    const peer = peerOf();
    const engine = make({ servers: { desk: { transport: () => peer.transport } }, policy, ...more });
    await engine.start();
    await Promise.all([engine.listTools(), engine.listResources()]);
    return { peer, engine };
  }
  const decided = (effect: 'allow' | 'deny'): Decision => ({
    effect,
    ruleId: effect === 'allow' ? 'all' : 'default:deny',
    ruleSource: 'spec',
    reason: 'because',
  });

  it('denies also what is in memory: what everybody could read, and what this one has read', async () => {
    const cache = { resources: { ttlMs: 60_000, maxBytes: 1_000_000 } };
    const allow: PolicyRule = { effect: 'allow', principals: ['alice'] };
    const { peer, engine } = await engineWith([allow], { cache });
    await engine.readResource('x://a', ALICE);
    const before = peer.received.length;
    await engine.readResource('x://a', ALICE);
    expect(peer.received).toHaveLength(before);
    expect(await failureOf(engine.readResource('x://a', BOB))).toMatchObject({ code: 'not_found' });
    await engine.reconfigure({
      servers: { desk: { transport: () => peer.transport } },
      policy: [allow, { effect: 'deny', resources: ['x://**'] }],
      cache,
    });
    expect(await failureOf(engine.readResource('x://a', ALICE))).toMatchObject({ code: 'not_found' });
    expect(methodsOf(peer.received).filter((method) => method === 'resources/read')).toHaveLength(1);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('the database is away');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the database is away'))],
    ['answers nothing', () => undefined],
    ['answers with nonsense', () => ({ allow: true })],
    ['answers with a promise of nonsense', () => Promise.resolve('yes')],
  ])('that %s denies, and sends nothing', async (_what, decide) => {
    const { peer, engine } = await engineWith({ decide });
    const before = peer.received.length;
    expect((await engine.listTools()).items).toEqual([]);
    expect(await failureOf(engine.callTool('desk__echo'))).toMatchObject({ code: 'not_found' });
    expect(await failureOf(engine.readResource('x://a'))).toMatchObject({ code: 'not_found' });
    expect(await rowsOf(engine, { method: 'tools/list' })).toEqual([]);
    expect(await engine.explain({ method: 'tools/call', params: { name: 'desk__echo' } })).toMatchObject({
      effect: 'deny',
      ruleId: 'default:engine-failed',
    });
    expect(peer.received).toHaveLength(before);
  });

  it('that never answers ends every verb in its time, and sends nothing', async () => {
    const peer = peerOf();
    const engine = make({
      servers: { desk: { transport: () => peer.transport } },
      policy: { decide: () => new Promise<Decision>(() => {}) },
      timeoutMs: 150,
    });
    await engine.start();
    const before = peer.received.length;
    const late = { timeoutMs: 150 };
    for (const [verb, asked] of Object.entries({
      callTool: () => engine.callTool('echo', {}, { ...late, servers: ['desk'] }),
      read: () => engine.readResource('x://a', { ...late, servers: ['desk'] }),
      watch: () => engine.subscribeResource('x://a', () => {}, { ...late, servers: ['desk'] }),
      vendor: () => engine.request({ method: 'a/b' }, late),
      fanOut: () => rowsOf(engine, { method: 'tools/list' }, late),
      explain: () => engine.explain({ method: 'tools/call', params: { name: 'echo' } }),
    }))
      expect([verb, (await failureOf(asked())).code]).toEqual([verb, 'deadline_exceeded']);
    // The lists of the server itself are asked for: what of them may be shown is what nobody says.
    expect((await failureOf(engine.listTools(late))).code).toBe('deadline_exceeded');
    const sent = methodsOf(peer.received.slice(before));
    expect(sent.filter((method) => method !== 'tools/list')).toEqual([]);
  });

  it('of the host that takes its time is waited for, in lists and fan-outs too', async () => {
    const slow: PolicyEngine = {
      async decide({ principal, tool, operation, server }) {
        await pause(5);
        if (operation === 'server.connect') return decided('deny');
        return decided(principal?.id === 'alice' && server === 'desk' && tool !== 'pay' ? 'allow' : 'deny');
      },
    };
    const { peer, engine } = await engineWith(slow);
    expect((await engine.listTools(ALICE)).items.map(({ originalName }) => originalName)).toEqual(['echo']);
    expect(await textOf(engine.callTool('desk__echo', {}, ALICE))).toBe('done');
    expect(await rowsOf(engine, { method: 'tools/list' }, ALICE)).toMatchObject([
      { server: 'desk', ok: true },
    ]);
    const before = peer.received.length;
    expect(await failureOf(engine.callTool('desk__pay', {}, ALICE))).toMatchObject({ code: 'not_found' });
    expect(await rowsOf(engine, { method: 'tools/list' }, BOB)).toEqual([]);
    expect(peer.received).toHaveLength(before);
  });

  it('knows roles, capabilities and conditions, and a role that nobody defined counts for nothing', async () => {
    const { engine } = await engineWith({
      roles: { clerk: { capabilities: ['read'] }, boss: { capabilities: ['read', 'spend'] } },
      rules: [
        { effect: 'allow', tools: ['echo'], capabilities: ['read'] },
        {
          id: 'small',
          effect: 'allow',
          tools: ['pay'],
          capabilities: ['spend'],
          when: 'arguments.amount < 100',
        },
      ],
    });
    const shown = async (principal: object): Promise<string[]> =>
      (await engine.listTools({ principal: principal as never })).items.map(
        ({ originalName }) => originalName,
      );
    expect(await shown({ id: 'c', roles: ['clerk'] })).toEqual(['echo']);
    expect(await shown({ id: 'b', roles: ['boss'] })).toEqual(['echo', 'pay']);
    expect(await shown({ id: 'x', roles: ['emperor'] })).toEqual([]);
    expect(await shown({ id: 'y', capabilities: ['read'] })).toEqual(['echo']);
    const boss = { principal: { id: 'b', roles: ['boss'] } };
    expect(await textOf(engine.callTool('desk__pay', { amount: 99 }, boss))).toBe('done');
    expect(await failureOf(engine.callTool('desk__pay', { amount: 100 }, boss))).toMatchObject({
      code: 'denied',
    });
    expect(await failureOf(engine.callTool('desk__pay', {}, boss))).toMatchObject({ code: 'denied' });
    const explained = await engine.explain({
      method: 'tools/call',
      params: { name: 'desk__pay', arguments: { amount: 5 } },
      principal: { id: 'c', roles: ['clerk'] },
    });
    expect(explained).toMatchObject({ effect: 'deny', missing: ['capability:spend'] });
    expect(explained.nearest.map(({ ruleId }) => ruleId)).toContain('small');
  });

  it.each([{ id: '' }, { id: '@host' }, { id: 7 }, {}, { id: 'x', roles: 'admin' }, 42, '', null])(
    'takes %j for nobody, and never for the host',
    async (principal) => {
      const { peer, engine } = await engineWith([{ effect: 'allow', principals: ['@host', 'x'] }]);
      const before = peer.received.length;
      const refused = await failureOf(engine.callTool('desk__echo', {}, { principal: principal as never }));
      expect(['not_found', 'invalid_request']).toContain(refused.code);
      expect(peer.received).toHaveLength(before);
    },
  );

  it('does not wake a server over a name that would be refused there', async () => {
    const peer = peerOf();
    const engine = make({
      servers: { desk: { transport: () => peer.transport, lazy: true } },
      policy: [{ effect: 'allow', principals: ['alice'], tools: ['echo'] }],
    });
    await engine.start();
    expect(await failureOf(engine.callTool('desk__pay', {}, ALICE))).toMatchObject({ code: 'not_found' });
    expect(await failureOf(engine.callTool('desk__echo', {}, BOB))).toMatchObject({ code: 'not_found' });
    expect(peer.received).toEqual([]);
    expect(await textOf(engine.callTool('desk__echo', {}, ALICE))).toBe('done');
  });

  it.each<[unknown, string]>([
    [[{ effect: 'allow', roles: ['clerk'], when: 'arguments.amount <' }], 'policy.rules[0].when'],
    [{ rules: [{ effect: 'allow', roles: ['ghost'] }], roles: { clerk: {} } }, 'policy.rules[0].roles'],
    [{ rules: [{ effect: 'permit' }] }, 'policy.rules[0].effect'],
    [{ rule: [] }, 'policy.rule'],
    [{}, 'policy.rules'],
    [null, 'policy'],
    [() => true, 'policy'],
    [
      [
        { effect: 'allow', id: 'a' },
        { effect: 'deny', id: 'a' },
      ],
      'policy.rules[1].id',
    ],
  ])('%j is refused by createEngine, with the field', (policy, field) => {
    expect(() => make({ servers: {}, policy: policy as never })).toThrow(
      expect.objectContaining({ code: 'config_invalid', data: expect.objectContaining({ field }) }),
    );
  });
});
