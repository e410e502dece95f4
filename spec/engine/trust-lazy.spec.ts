import { describe, expect, it } from '@jest/globals';
import type { EngineConfig } from '../../lib/config/config.ts';
import type { PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { failureOf, hostHearsNothing, isConnected } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();

const RULES: readonly PolicyRule[] = [
  { effect: 'allow', servers: ['open'] },
  { effect: 'allow', principals: ['alice'], tools: ['echo'] },
  { effect: 'allow', principals: ['bob'], tools: ['echo'], when: 'arguments.amount < 5' },
  { effect: 'allow', principals: ['mallory'] },
  { effect: 'deny', principals: ['mallory'], servers: ['desk'] },
];
const holdings = { tools: ['echo'], prompts: ['greet'], resources: ['x://a'], config: { lazy: true } };

const engineWith = (policy: EngineConfig['policy'], more: EngineConfig = {}) =>
  fleet({ desk: holdings, open: { tools: ['echo'] } }, { ...more, policy });

describe('a lazy server under a policy', () => {
  it.each(['carol', 'mallory'])(
    'is not woken by anything that %s asks of all, who may use nothing of it',
    async (principal) => {
      const { engine, peers } = engineWith(RULES);
      await engine.start();
      const as = { principal };
      const { items, failures } = await engine.listTools(as);
      expect(items.map(({ name }) => name)).toEqual(['open__echo']);
      expect(failures).toEqual([]);
      await engine.listResources(as);
      await engine.listResourceTemplates(as);
      await engine.listPrompts({ ...as, cache: 'refresh' });
      await engine.request({ method: 'tools/list' }, as);
      await engine.aggregate({ method: 'tools/list' }, as);
      expect((await failureOf(engine.listTools({ ...as, servers: ['desk'] }))).code).toBe('not_found');
      await failureOf(engine.subscribeResource('x://a', () => {}, as));
      await failureOf(engine.callTool('desk__echo', {}, as));
      await failureOf(engine.readResource('x://a', as));
      expect(peers.desk.connections).toBe(0);
      expect(engine.connection('desk').state).toBe('Disconnected');
    },
  );

  it.each([
    ['may use one tool of it', 'alice'],
    ['may, under a condition', 'bob'],
  ])('is woken by the list of one who %s', async (_what, principal) => {
    const { engine } = engineWith(RULES);
    await engine.start();
    expect((await engine.listTools({ principal })).items.map(({ name }) => name)).toEqual([
      'desk__echo',
      'open__echo',
    ]);
    expect(isConnected(engine, 'desk')).toBe(true);
  });

  it('is woken by the host, to which it is configured, and not where that grants nothing', async () => {
    const open = engineWith(RULES);
    await open.engine.start();
    await open.engine.listTools();
    expect(isConnected(open.engine, 'desk')).toBe(true);
    const secure = engineWith(RULES, { secure: true, pinning: false });
    await secure.engine.start();
    await secure.engine.listTools();
    expect(secure.peers.desk.connections).toBe(0);
  });

  it('is judged by the policy of the moment, and of the servers of the moment', async () => {
    const { engine, peers } = engineWith(RULES);
    await engine.start();
    await engine.listTools({ principal: 'carol' });
    expect(peers.desk.connections).toBe(0);
    await engine.add('later', { transport: () => peers.desk.transport, era: 'legacy', lazy: true });
    await engine.listTools({ principal: 'carol' });
    expect(peers.desk.connections).toBe(0);
    await engine.listTools({ principal: 'alice', servers: ['later'] });
    expect(peers.desk.connections).toBe(1);
  });

  it.each<[string, boolean, PolicyEngine['rulesOut']]>([
    ['says so', false, (server, principal) => server === 'desk' && principal?.id === 'carol'],
    ['has no opinion', true, undefined],
    ['says no', true, () => false],
    ['answers with nonsense', true, () => 'yes' as never],
    ['answers later', true, () => Promise.resolve(true) as never],
    [
      'throws',
      true,
      () => {
        throw new Error('the database is away');
      },
    ],
  ])('is woken, or not, as a policy of the host that %s has it', async (_what, woken, rulesOut) => {
    const policy: PolicyEngine = {
      decide: ({ server }) => ({
        effect: server === 'desk' ? 'deny' : 'allow',
        ruleId: 'mine',
        ruleSource: 'spec',
        reason: 'because',
      }),
      ...(rulesOut === undefined ? {} : { rulesOut }),
    };
    const { engine, peers } = engineWith(policy);
    await engine.start();
    const { items, failures } = await engine.listTools({ principal: 'carol' });
    expect(items.map(({ name }) => name)).toEqual(['open__echo']);
    expect(failures).toEqual([]);
    expect(peers.desk.connections).toBe(woken ? 1 : 0);
  });
});
