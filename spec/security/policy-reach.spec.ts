import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Principal } from '../../lib/core/request.ts';
import { USE_OPERATIONS, type PolicyQuery } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { isVisible } from '../../lib/security/policy-visibility.ts';
import { createPolicy, type PolicyOptions } from '../../lib/security/policy.ts';

const alice: Principal = { id: 'alice', roles: ['user'] };

describe('what a policy rules out', () => {
  const rows: ReadonlyArray<
    readonly [string, boolean, readonly PolicyRule[], Principal | undefined, PolicyOptions?]
  > = [
    ['no rule for anybody', true, [], alice],
    ['rules for others', true, [{ effect: 'allow', principals: ['bob'] }], alice],
    ['rules for other servers', true, [{ effect: 'allow', servers: ['other', 'desk-*'] }], alice],
    ['rules for roles it has not', true, [{ effect: 'allow', roles: ['admin'] }], alice],
    ['rules for capabilities it has not', true, [{ effect: 'allow', capabilities: ['pay'] }], alice],
    [
      'what servers ask and what changes the engine',
      true,
      [{ effect: 'allow', operations: ['sampling', 'admin.*'] }],
      alice,
    ],
    [
      'everything denied to it',
      true,
      [{ effect: 'allow' }, { effect: 'deny', principals: ['alice'] }],
      alice,
    ],
    ['everything denied there', true, [{ effect: 'allow' }, { effect: 'deny', servers: ['de*'] }], alice],
    [
      'what is allowed is denied',
      true,
      [
        { effect: 'allow', tools: ['x'], operations: ['tools.call', 'tools.list'] },
        { effect: 'deny', operations: ['tools.*'] },
      ],
      alice,
    ],
    ['a principal that is none', true, [{ effect: 'allow' }], { id: '' }],
    [
      'the host, where nothing is granted but by policy',
      true,
      [],
      undefined,
      { servers: ['desk'], secure: true },
    ],
    ['the host at a server that is not configured', true, [], undefined, { servers: ['other'] }],
    ['the host where all is denied', true, [{ effect: 'deny' }], undefined, { servers: ['desk'] }],

    ['the host, by configuration', false, [], undefined, { servers: ['desk'] }],
    ['one that is the host too', false, [], alice, { servers: ['desk'], hostIds: ['alice'] }],
    ['a rule for everybody', false, [{ effect: 'allow' }], alice],
    ['one tool', false, [{ effect: 'allow', tools: ['x'] }], alice],
    ['one resource', false, [{ effect: 'allow', resources: ['x://a'] }], alice],
    ['one vendor method', false, [{ effect: 'allow', operations: ['vendor:x/*'] }], alice],
    ['a role it has', false, [{ effect: 'allow', roles: ['user'] }], alice],
    [
      'a capability that its role brings',
      false,
      [{ effect: 'allow', capabilities: ['pay'] }],
      alice,
      { roles: { user: { capabilities: ['pay'] } } },
    ],
    ['a condition that may hold', false, [{ effect: 'allow', when: 'arguments.amount < 5' }], alice],
    ['a denial with a condition', false, [{ effect: 'allow' }, { effect: 'deny', when: 'true' }], alice],
    ['a denial of some things', false, [{ effect: 'allow' }, { effect: 'deny', tools: ['*'] }], alice],
    [
      'a denial of most operations',
      false,
      [{ effect: 'allow' }, { effect: 'deny', operations: ['tools.*', 'resources.*'] }],
      alice,
    ],
    [
      'a denial of some vendor methods',
      false,
      [
        { effect: 'allow', operations: ['vendor'] },
        { effect: 'deny', operations: ['vendor:x/*'] },
      ],
      alice,
    ],
    ['a denial elsewhere', false, [{ effect: 'allow' }, { effect: 'deny', servers: ['other'] }], alice],
  ];
  it.each(rows.map((row) => ({ what: row[0], row })))(
    '$what',
    ({ row: [, expected, rules, principal, options] }) => {
      expect(createPolicy(rules, options).rulesOut('desk', principal)).toBe(expected);
    },
  );

  it('is never what any rule would allow, or a list would show', () => {
    const some = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
      fc.array(value, { minLength: 1, maxLength: 2 });
    const rule: fc.Arbitrary<PolicyRule> = fc.record(
      {
        effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
        roles: some(fc.constantFrom('user', 'admin')),
        principals: some(fc.constantFrom('a*', 'bob', '@host', '*')),
        capabilities: some(fc.constantFrom('c', 'd')),
        operations: some(
          fc.constantFrom(
            '*',
            'tools.*',
            'tools.call',
            'resources.*',
            'prompts.get',
            'vendor:x/*',
            'vendor',
            'sampling',
          ),
        ),
        servers: some(fc.constantFrom('s', 't*', '*')),
        tools: some(fc.constantFrom('x', 'y*', '*')),
        resources: some(fc.constantFrom('x://a/**', '**')),
        prompts: some(fc.constantFrom('p', '*')),
        when: fc.constantFrom<(query: PolicyQuery) => boolean>(
          () => true,
          ({ arguments: given }) => given?.['n'] === 1,
          () => {
            throw new Error('boom');
          },
        ),
      },
      { requiredKeys: ['effect'] },
    );
    const principal = fc.option(
      fc.record(
        {
          id: fc.constantFrom('alice', 'bob', 'h'),
          roles: some(fc.constantFrom('user', 'admin')),
          capabilities: some(fc.constantFrom('c', 'd')),
        },
        { requiredKeys: ['id'] },
      ),
      { nil: undefined },
    );
    let out = 0;
    let runs = 0;
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        principal,
        fc.constantFrom('s', 'tt', 'u'),
        fc.boolean(),
        (rules, who, server, secure) => {
          runs += 1;
          const policy = createPolicy(rules, {
            servers: ['s', 'tt'],
            hostIds: ['h'],
            roles: { user: { capabilities: ['c'] }, admin: {} },
            secure,
          });
          if (!policy.rulesOut(server, who)) return;
          out += 1;
          const broken: unknown[] = [];
          for (const operation of [...USE_OPERATIONS, 'vendor'] as const) {
            for (const args of [undefined, { n: 1 }]) {
              for (const what of [
                {},
                { tool: 'x' },
                { tool: 'yy' },
                { resource: 'x://a/1' },
                { prompt: 'p' },
                { method: 'x/a' },
              ]) {
                const query = { operation, principal: who, server, arguments: args, ...what };
                if (policy.decide(query).effect === 'allow' || isVisible(policy, query) !== false)
                  broken.push(query);
              }
            }
          }
          expect(broken).toEqual([]);
        },
      ),
      { numRuns: 1_500 },
    );
    // The law is about something.
    expect(out).toBeGreaterThan(runs / 20);
    expect(out).toBeLessThan(runs);
  });
});
