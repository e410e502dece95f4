import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Principal } from '../../lib/core/request.ts';
import type { PolicyQuery } from '../../lib/security/policy-engine.ts';
import { isVisible } from '../../lib/security/policy-visibility.ts';
import { createPolicy } from '../../lib/security/policy.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';

const alice: Principal = { id: 'alice', roles: ['user'] };
const call = (tool: string, principal?: Principal, server = 'docs'): PolicyQuery => ({
  operation: 'tools.call',
  server,
  tool,
  principal,
});
const read = (resource: string, principal: Principal = alice): PolicyQuery => ({
  operation: 'resources.read',
  server: 'docs',
  resource,
  principal,
});
const effects = (rules: readonly PolicyRule[], queries: readonly PolicyQuery[]): string =>
  queries.map((query) => createPolicy(rules).decide(query).effect).join(' ');

describe('what is decided', () => {
  it('denies where there is no rule at all', () => {
    const policy = createPolicy([]);
    expect(policy.decide(call('echo', alice))).toMatchObject({ effect: 'deny', ruleId: 'default:deny' });
    expect(policy.decide(call('echo'))).toMatchObject({ effect: 'deny', ruleId: 'default:deny' });
  });

  it('lets a rule that denies win, wherever it stands', () => {
    const allow: PolicyRule = { effect: 'allow', roles: ['user'] };
    const deny: PolicyRule = { effect: 'deny', tools: ['delete*'] };
    expect(effects([allow, deny], [call('echo', alice), call('delete_all', alice)])).toBe('allow deny');
    expect(effects([deny, allow], [call('echo', alice), call('delete_all', alice)])).toBe('allow deny');
  });

  it.each<[string, PolicyRule, PolicyQuery, string]>([
    ['role', { effect: 'allow', roles: ['admin', 'user'] }, call('x', alice), 'allow'],
    ['another role', { effect: 'allow', roles: ['admin'] }, call('x', alice), 'deny'],
    ['no principal, so no role', { effect: 'allow', roles: ['user'] }, call('x'), 'deny'],
    ['principal', { effect: 'allow', principals: ['al*'] }, call('x', alice), 'allow'],
    ['the host by its id', { effect: 'allow', principals: ['@host'] }, call('x'), 'allow'],
    [
      'all capabilities',
      { effect: 'allow', capabilities: ['a', 'b'] },
      call('x', { id: 'u', capabilities: ['b', 'a'] }),
      'allow',
    ],
    [
      'one capability missing',
      { effect: 'allow', capabilities: ['a', 'b'] },
      call('x', { id: 'u', capabilities: ['a'] }),
      'deny',
    ],
    ['server', { effect: 'allow', servers: ['doc*'] }, call('x', alice), 'allow'],
    ['another server', { effect: 'allow', servers: ['mail'] }, call('x', alice), 'deny'],
    [
      'a server that is not known',
      { effect: 'allow', servers: ['*'] },
      { operation: 'tools.call', tool: 'x' },
      'deny',
    ],
    ['operation', { effect: 'allow', operations: ['tools.*'] }, call('x', alice), 'allow'],
    ['another operation', { effect: 'allow', operations: ['prompts.*'] }, call('x', alice), 'deny'],
    ['resource', { effect: 'allow', resources: ['file:///pub/**'] }, read('file:///pub/a'), 'allow'],
    [
      'resource out of the way',
      { effect: 'allow', resources: ['file:///pub/**'] },
      read('file:///pub/../etc/passwd'),
      'deny',
    ],
    [
      'prompt',
      { effect: 'allow', prompts: ['sum*'] },
      { operation: 'prompts.get', server: 's', prompt: 'summary' },
      'allow',
    ],
    [
      'completion of a prompt',
      { effect: 'allow', prompts: ['p'] },
      { operation: 'completion', server: 's', prompt: 'p' },
      'allow',
    ],
    [
      'completion of a resource',
      { effect: 'allow', resources: ['x://*'] },
      { operation: 'completion', server: 's', resource: 'x://a' },
      'allow',
    ],
    [
      'tools only, asked for a prompt',
      { effect: 'allow', tools: ['*'] },
      { operation: 'prompts.get', server: 's', prompt: 'x' },
      'deny',
    ],
    [
      'vendor method',
      { effect: 'allow', operations: ['vendor:acme/*'] },
      { operation: 'vendor', method: 'acme/do', server: 's' },
      'allow',
    ],
    [
      'another vendor method',
      { effect: 'allow', operations: ['vendor:acme/*'] },
      { operation: 'vendor', method: 'evil/do', server: 's' },
      'deny',
    ],
    ['admin by name', { effect: 'allow', operations: ['admin.add'] }, { operation: 'admin.add' }, 'allow'],
    ['another admin', { effect: 'allow', operations: ['admin.add'] }, { operation: 'admin.remove' }, 'deny'],
    ['admin, not named', { effect: 'allow' }, { operation: 'admin.add' }, 'deny'],
    ['sampling, not named', { effect: 'allow' }, { operation: 'sampling', server: 's' }, 'deny'],
    [
      'sampling by name',
      { effect: 'allow', operations: ['sampling'], servers: ['s'] },
      { operation: 'sampling', server: 's' },
      'allow',
    ],
    ['everything', { effect: 'allow', operations: ['*'] }, { operation: 'admin.add' }, 'allow'],
    ['logging', { effect: 'allow' }, { operation: 'logging', server: 's' }, 'allow'],
    [
      'connecting',
      { effect: 'allow', operations: ['server.connect'] },
      { operation: 'server.connect', server: 's' },
      'allow',
    ],
  ])('looks at the %s', (_what, rule, query, expected) => {
    expect(createPolicy([rule]).decide(query).effect).toBe(expected);
  });

  it.each([
    'file:///secret/key',
    'FILE:///secret/key',
    'file:///a/..%2Fsecret/key',
    'file:///secret//key/',
    'file:///secret/key?x=1',
    'file:///secret/key#x',
  ])('does not let a spelling slip past a rule that denies: %s', (uri) => {
    const rules: PolicyRule[] = [{ effect: 'allow' }, { effect: 'deny', resources: ['file:///secret/key'] }];
    expect(effects(rules, [read('file:///open'), read(uri)])).toBe('allow deny');
  });

  it('denies a URI that can be read in two ways, where resources matter', () => {
    const policy = createPolicy([{ effect: 'allow' }, { effect: 'deny', resources: ['x://y'] }]);
    expect(policy.decide(read('file:///a/%252e%252e/b')).ruleId).toBe('default:bad-uri');
  });

  it('denies by a rule that would need to know what is not told', () => {
    const rules: PolicyRule[] = [
      { effect: 'allow' },
      { id: 'no', effect: 'deny', servers: ['mail'], tools: ['send'] },
    ];
    const policy = createPolicy(rules);
    expect(policy.decide({ operation: 'tools.call', tool: 'send' }).ruleId).toBe('no');
    expect(policy.decide({ operation: 'tools.call', server: 'mail' }).ruleId).toBe('no');
    expect(policy.decide({ operation: 'tools.list' }).effect).toBe('allow');
    expect(policy.decide({ operation: 'tools.list', server: 'mail', tool: 'send' }).ruleId).toBe('no');
  });

  it('reads rules once: what the caller changes later changes nothing', () => {
    const roles = ['user'];
    const policy = createPolicy([{ effect: 'allow', roles }]);
    roles[0] = 'nobody';
    expect(policy.decide(call('x', alice)).effect).toBe('allow');
  });
});

describe('bad questions', () => {
  const open = createPolicy([{ effect: 'allow', operations: ['*'] }]);

  it.each<[string, unknown, string]>([
    [
      'unknown operation',
      { operation: 'tools.destroy', server: 's', tool: 'x' },
      'default:unknown-operation',
    ],
    ['no operation', {}, 'default:error'],
    ['prototype key as operation', { operation: '__proto__' }, 'default:unknown-operation'],
    ['admin without a name', { operation: 'admin.' }, 'default:unknown-operation'],
    ['server as number', { operation: 'tools.call', server: 7, tool: 'x' }, 'default:bad-query'],
    [
      'a very long name',
      { operation: 'tools.call', server: 's', tool: 'x'.repeat(9000) },
      'default:bad-query',
    ],
    [
      'principal without id',
      { operation: 'tools.call', server: 's', tool: 'x', principal: {} },
      'default:bad-principal',
    ],
    [
      'principal that claims to be the host',
      { operation: 'tools.call', server: 's', tool: 'x', principal: { id: '@host' } },
      'default:bad-principal',
    ],
    [
      'roles as text',
      { operation: 'tools.call', server: 's', tool: 'x', principal: { id: 'a', roles: 'admin' } },
      'default:bad-principal',
    ],
    ['null', null, 'default:error'],
  ])('%s is denied', (_what, query, ruleId) => {
    expect(open.decide(query as PolicyQuery)).toMatchObject({ effect: 'deny', ruleId });
    expect(open.explain(query as PolicyQuery)).toMatchObject({ effect: 'deny' });
  });
});

describe('conditions', () => {
  const withWhen = (
    when: NonNullable<PolicyRule['when']>,
    effect: 'allow' | 'deny' = 'allow',
  ): PolicyRule[] => [
    { effect: 'allow', id: 'open', when: () => true },
    { effect, id: 'when', when, tools: ['x'] },
  ];

  it('asks a function', () => {
    const policy = createPolicy([
      { effect: 'allow', when: ({ arguments: given }) => given?.['dry'] === true },
    ]);
    expect(policy.decide({ ...call('x', alice), arguments: { dry: true } }).effect).toBe('allow');
    expect(policy.decide({ ...call('x', alice), arguments: { dry: false } }).effect).toBe('deny');
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('boom');
      },
    ],
    ['answers a promise', () => Promise.reject(new Error('later'))],
    ['answers a text', () => 'yes'],
    ['answers nothing', () => undefined],
  ])('denies where a condition %s', (_what, when) => {
    const broken = when as () => boolean;
    expect(createPolicy(withWhen(broken, 'deny')).decide(call('x', alice))).toMatchObject({
      effect: 'deny',
      ruleId: 'when',
    });
    const [, alone] = withWhen(broken);
    expect(createPolicy([alone!]).decide(call('x', alice))).toMatchObject({ effect: 'deny', ruleId: 'when' });
  });

  it('are asked of a resource without a clear spelling only where they look at it, and deny only whom they are about', () => {
    const odd = (principal: string) => ({
      operation: 'resources.read' as const,
      server: 's',
      resource: 'file:///a/%zz',
      principal: { id: principal },
    });
    const policy = createPolicy([
      { effect: 'allow', principals: ['ann'] },
      { effect: 'allow', principals: ['bob'], when: ({ resource }) => resource !== undefined },
      { effect: 'allow', principals: ['cid'], when: () => true },
    ]);
    expect(['ann', 'bob', 'cid'].map((who) => policy.decide(odd(who)).effect)).toEqual([
      'allow',
      'deny',
      'allow',
    ]);
  });

  it('see a resource in the one spelling that patterns see, and none that can be read in two ways', () => {
    const policy = createPolicy([
      { effect: 'allow', when: ({ resource }) => resource?.startsWith('notes://me/public/') === true },
    ]);
    const effectOf = (resource: string): string =>
      policy.decide({ operation: 'resources.read', server: 'docs', resource, principal: { id: 'bob' } })
        .effect;
    expect(effectOf('NOTES://me/public/a')).toBe('allow');
    for (const uri of [
      'notes://me/public/../private/a',
      'notes://me/public/%2e%2e/private/a',
      'notes://me/public/%252e%252e/private/a',
    ])
      expect(effectOf(uri)).toBe('deny');
  });

  it('does not ask a condition whose rule is about something else', () => {
    const policy = createPolicy(
      withWhen(() => {
        throw new Error('boom');
      }, 'deny'),
    );
    expect(policy.decide(call('y', alice)).effect).toBe('allow');
  });
});

describe('roles', () => {
  const roles = { user: { capabilities: ['read'] }, admin: {} };

  it('brings capabilities along', () => {
    const policy = createPolicy([{ effect: 'allow', capabilities: ['read'] }], { roles });
    expect(policy.decide(call('x', alice)).effect).toBe('allow');
    expect(policy.decide(call('x', { id: 'b', roles: ['admin'] })).effect).toBe('deny');
  });

  it('counts a role nobody defined for nothing', () => {
    const policy = createPolicy(
      [
        { effect: 'allow', roles: ['user'] },
        { effect: 'allow', capabilities: ['read'] },
      ],
      { roles },
    );
    for (const role of ['root', '__proto__', 'constructor', 'User']) {
      expect(policy.decide(call('x', { id: 'm', roles: [role] })).effect).toBe('deny');
    }
  });

  it('refuses a rule with a role nobody defined', () => {
    expect(() => createPolicy([{ effect: 'allow', roles: ['usr'] }], { roles })).toThrow(
      '[config_invalid] policy.rules[0].roles: role "usr" is not defined',
    );
  });
});

describe('what the configuration grants', () => {
  const policy = createPolicy([{ effect: 'deny', tools: ['rm'] }], {
    servers: ['docs'],
    hostAnswers: ['sampling'],
    hostIds: ['app'],
  });

  it('lets the embedding host use configured servers, and shows why', () => {
    expect(policy.decide(call('echo'))).toEqual({
      effect: 'allow',
      ruleId: 'config:docs',
      ruleSource: 'servers.docs',
      reason: 'server "docs" is configured',
    });
    expect(policy.decide(call('echo', { id: 'app' })).ruleId).toBe('config:docs');
    expect(policy.decide({ operation: 'admin.add' }).ruleId).toBe('config:host');
    expect(policy.decide({ operation: 'vendor', method: 'x/y', server: 'docs' }).ruleId).toBe('config:docs');
  });

  it('grants nothing to anybody else, on no other server, and no more than was given', () => {
    expect(policy.decide(call('echo', alice)).effect).toBe('deny');
    expect(policy.decide(call('echo', undefined, 'other')).effect).toBe('deny');
    expect(policy.decide({ operation: 'admin.add', principal: alice }).effect).toBe('deny');
    expect(policy.decide({ operation: 'elicitation', server: 'docs' }).effect).toBe('deny');
    expect(policy.decide({ operation: 'sampling', server: 'other' }).effect).toBe('deny');
  });

  it('grants a callback by its being given', () => {
    expect(policy.decide({ operation: 'sampling', server: 'docs', principal: alice }).ruleId).toBe(
      'config:host.sampling',
    );
  });

  it('gives way to a rule that denies', () => {
    expect(policy.decide(call('rm')).effect).toBe('deny');
  });

  it('grants nothing when secure', () => {
    const secure = createPolicy([], { servers: ['docs'], hostAnswers: ['sampling'], secure: true });
    const asked: PolicyQuery[] = [
      call('echo'),
      { operation: 'admin.add' },
      { operation: 'sampling', server: 'docs' },
    ];
    expect(asked.map((query) => secure.decide(query).ruleId)).toEqual([
      'default:deny',
      'default:deny',
      'default:deny',
    ]);
  });
});

describe('createPolicy refuses', () => {
  it('two rules with one id', () => {
    const rules: PolicyRule[] = [
      { id: 'a', effect: 'allow' },
      { id: 'a', effect: 'deny' },
    ];
    expect(() => createPolicy(rules)).toThrow(
      '[config_invalid] policy.rules[1].id: "a" is the id of policy.rules[0] already',
    );
  });

  it('what is no list', () => {
    expect(() => createPolicy({} as never, { source: 'mcp.json#policy' })).toThrow(
      'mcp.json#policy: must be a list of rules',
    );
  });
});

describe('explain', () => {
  const policy = createPolicy(
    [
      { id: 'mail', effect: 'allow', servers: ['mail'], capabilities: ['mail.send'], roles: ['user'] },
      { id: 'ops', effect: 'allow', roles: ['ops'], servers: ['prod'], tools: ['restart'] },
      { id: 'noon', effect: 'allow', principals: ['bob'], when: () => false },
      { id: 'never', effect: 'deny', tools: ['rm'] },
    ],
    { source: 'mcp.json#policy' },
  );

  it('names the missing capability and the nearest rules', () => {
    const explained = policy.explain(call('send', alice, 'mail'));
    expect(explained).toMatchObject({
      effect: 'deny',
      ruleId: 'default:deny',
      missing: ['capability:mail.send'],
    });
    expect(explained.nearest.map(({ ruleId }) => ruleId)).toEqual(['mail', 'noon', 'ops']);
    expect(explained.nearest[0]).toEqual({
      ruleId: 'mail',
      ruleSource: 'mcp.json#policy[0]',
      unmet: ['it needs the capability mail.send'],
    });
  });

  it('tells the rule that forbids', () => {
    expect(policy.explain(call('rm', alice, 'mail'))).toMatchObject({
      ruleId: 'never',
      ruleSource: 'mcp.json#policy[3]',
      reason: 'denied by rule "never"',
    });
  });

  it('names a condition that does not hold', () => {
    const [nearest] = policy.explain(call('x', { id: 'bob' }, 'none')).nearest;
    expect(nearest).toEqual({
      ruleId: 'noon',
      ruleSource: 'mcp.json#policy[2]',
      unmet: ['its condition does not hold'],
    });
  });

  it('has nothing to add when allowed', () => {
    const explained = policy.explain(
      call('send', { id: 'c', roles: ['user'], capabilities: ['mail.send'] }, 'mail'),
    );
    expect(explained).toMatchObject({ effect: 'allow', ruleId: 'mail', missing: [], nearest: [] });
  });

  it('agrees with decide', () => {
    for (const query of [
      call('rm', alice),
      call('x'),
      read('file:///%zz'),
      { operation: 'admin.x' } as PolicyQuery,
    ]) {
      expect(policy.explain(query)).toMatchObject(policy.decide(query));
    }
  });
});

describe('laws', () => {
  const some = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(value, { minLength: 1, maxLength: 2 });
  const rule = (effect: fc.Arbitrary<'allow' | 'deny'>): fc.Arbitrary<PolicyRule> =>
    fc.record(
      {
        effect,
        roles: some(fc.constantFrom('user', 'admin')),
        principals: some(fc.constantFrom('a*', 'bob', '*')),
        capabilities: some(fc.constantFrom('c', 'd')),
        operations: some(
          fc.constantFrom('*', 'tools.*', 'resources.read', 'vendor:x/*', 'sampling', 'admin.*'),
        ),
        servers: some(fc.constantFrom('s', 't*', '*')),
        tools: some(fc.constantFrom('x', 'y*', '*')),
        resources: some(fc.constantFrom('x://a/**', 'x://b', '**')),
        when: fc.constantFrom<(query: PolicyQuery) => boolean>(
          () => true,
          () => false,
          () => {
            throw new Error('boom');
          },
        ),
      },
      { requiredKeys: ['effect'] },
    );
  const query: fc.Arbitrary<PolicyQuery> = fc.record(
    {
      operation: fc.constantFrom<PolicyQuery['operation'][]>(
        'tools.call',
        'tools.list',
        'resources.read',
        'vendor',
        'sampling',
        'admin.add',
      ),
      principal: fc.record(
        {
          id: fc.constantFrom('alice', 'bob'),
          roles: some(fc.constantFrom('user', 'admin')),
          capabilities: some(fc.constantFrom('c', 'd')),
        },
        { requiredKeys: ['id'] },
      ),
      server: fc.constantFrom('s', 'tt', 'u'),
      tool: fc.constantFrom('x', 'yy', 'z'),
      resource: fc.constantFrom('x://a/1', 'x://a/../b', 'x://%zz'),
      method: fc.constantFrom('x/a', 'y/b'),
    },
    { requiredKeys: ['operation'] },
  );

  it('a further rule that denies never allows more, wherever it is put', () => {
    fc.assert(
      fc.property(
        fc.array(rule(fc.constantFrom('allow', 'deny')), { maxLength: 5 }),
        rule(fc.constant('deny')),
        fc.nat(5),
        query,
        (rules, deny, at, asked) => {
          const options = { servers: ['s', 'tt'] };
          const before = createPolicy(rules, options).decide(asked).effect;
          const after = createPolicy([...rules.slice(0, at), deny, ...rules.slice(at)], options).decide(
            asked,
          ).effect;
          expect(before === 'deny' && after === 'allow').toBe(false);
        },
      ),
      { numRuns: 600 },
    );
  });

  it('a list shows nothing that would be refused, whatever the rules: where no condition looks at arguments', () => {
    fc.assert(
      fc.property(
        fc.array(rule(fc.constantFrom('allow', 'deny')), { maxLength: 5 }),
        query,
        (rules, asked) => {
          const policy = createPolicy(rules, { servers: ['s', 'tt'] });
          if (isVisible(policy, { ...asked, operation: 'tools.list' }) === true)
            expect(policy.decide({ ...asked, operation: 'tools.call' }).effect).toBe('allow');
        },
      ),
      { numRuns: 600 },
    );
  });

  it('only what one of the allowing rules allows alone is allowed', () => {
    fc.assert(
      fc.property(
        fc.array(rule(fc.constantFrom('allow', 'deny')), { maxLength: 5 }),
        query,
        (rules, asked) => {
          if (createPolicy(rules).decide(asked).effect === 'deny') return;
          expect(
            rules.some(
              (one) => one.effect === 'allow' && createPolicy([one]).decide(asked).effect === 'allow',
            ),
          ).toBe(true);
        },
      ),
      { numRuns: 600 },
    );
  });
});
