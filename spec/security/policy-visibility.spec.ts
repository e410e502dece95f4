import { describe, expect, it } from '@jest/globals';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Request } from '../../lib/core/request.ts';
import type { PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { isVisible, visibleItems } from '../../lib/security/policy-visibility.ts';
import { createPolicy } from '../../lib/security/policy.ts';
import { requestOf } from '../support/requests.ts';

const slowly = (engine: PolicyEngine): PolicyEngine => ({
  decide: (query) => Promise.resolve(engine.decide(query)),
});
const both = (rules: readonly PolicyRule[]): PolicyEngine[] => [
  createPolicy(rules),
  slowly(createPolicy(rules)),
];

describe('what may be seen', () => {
  it.each<[string, PolicyRule[], boolean]>([
    ['may be called', [{ effect: 'allow', operations: ['tools.call'] }], true],
    ['may be listed', [{ effect: 'allow', operations: ['tools.list'] }], false],
    [
      'may be called, but not listed',
      [
        { effect: 'allow', operations: ['tools.call'] },
        { effect: 'deny', operations: ['tools.list'] },
      ],
      false,
    ],
    [
      'may be listed, but not called',
      [{ effect: 'allow' }, { effect: 'deny', operations: ['tools.call'] }],
      false,
    ],
    [
      'may be called with some arguments',
      [{ effect: 'allow', when: (query) => Number(query.arguments?.['amount']) < 100 }],
      true,
    ],
    [
      'may be called with some arguments, by a condition in CEL',
      [{ effect: 'allow', when: 'arguments.amount < 100' }],
      true,
    ],
    [
      'may not be called with some arguments',
      [{ effect: 'allow' }, { effect: 'deny', when: '!(arguments.amount < 100)' }],
      true,
    ],
    [
      'may not be called by this one, whatever the arguments',
      [{ effect: 'allow', when: 'principal.id == "bob" && arguments.amount < 100' }],
      false,
    ],
    [
      'is forbidden by a condition that does not look at arguments',
      [{ effect: 'allow' }, { effect: 'deny', when: 'mcp.tool.name == "x" || arguments.amount > 1' }],
      false,
    ],
    [
      'may be called with some arguments, or by somebody else',
      [{ effect: 'allow', when: 'arguments.amount < 100 || principal.id == "bob"' }],
      true,
    ],
    [
      'has a condition that is decided behind the arguments',
      [{ effect: 'allow', when: 'arguments.amount < 100 && principal.id == "bob"' }],
      false,
    ],
    [
      'has a condition that is false before it looks at arguments',
      [{ effect: 'allow', when: 'has(jwt.group) && jwt.group == "staff" && arguments.amount < 100' }],
      false,
    ],
    ['is not mentioned', [], false],
    [
      'has a listing rule that fails',
      [
        {
          effect: 'allow',
          operations: ['tools.list'],
          when: () => {
            throw new Error('x');
          },
        },
        { effect: 'allow', operations: ['tools.call'] },
      ],
      false,
    ],
  ])('what %s', async (_what, rules, expected) => {
    for (const engine of both(rules)) {
      expect(await isVisible(engine, { operation: 'tools.list', server: 's', tool: 'x' })).toBe(expected);
    }
  });
});

describe('a list for one principal', () => {
  const rules: PolicyRule[] = [
    {
      effect: 'allow',
      servers: ['alpha'],
      tools: ['echo', 'add'],
      resources: ['x://pub/**'],
      prompts: ['p'],
    },
  ];
  const list = async (method: string, response: Json, change: Partial<Request> = {}): Promise<Json[]> =>
    Promise.all(
      both(rules).map(async (engine) => visibleItems(engine, requestOf({ method, ...change }), response)),
    );

  it('loses what may not be seen and keeps all else', async () => {
    const response = {
      tools: [{ name: 'echo', title: 'E' }, { name: 'rm' }, { name: 'add' }],
      nextCursor: 'c',
      extra: 1,
    };
    const expected = { tools: [{ name: 'echo', title: 'E' }, { name: 'add' }], nextCursor: 'c', extra: 1 };
    expect(await list('tools/list', response)).toEqual([expected, expected]);
  });

  it.each([
    ['resources/list', 'resources', [{ uri: 'x://pub/a' }, { uri: 'x://priv/a' }], 1],
    [
      'resources/templates/list',
      'resourceTemplates',
      [{ uriTemplate: 'x://pub/{a}' }, { uriTemplate: 'x://{a}' }],
      1,
    ],
    ['prompts/list', 'prompts', [{ name: 'p' }, { name: 'q' }], 1],
  ])('%s', async (method, key, items, kept) => {
    const expected = { [key]: items.slice(0, kept) };
    expect(await list(method, { [key]: items })).toEqual([expected, expected]);
  });

  it('goes by the server that was asked, whatever an item claims', async () => {
    const [now] = await list('tools/list', {
      tools: [
        { name: 'rm', server: 'alpha', originalName: 'echo' },
        { name: 'echo', server: 'beta' },
      ],
    });
    expect(now).toEqual({ tools: [{ name: 'echo', server: 'beta' }] });
  });

  it('over many servers goes by what the engine has written into the items', async () => {
    const items = [
      { name: 'alpha__echo', server: 'alpha', originalName: 'echo' },
      { name: 'echo', server: 'beta', originalName: 'echo' },
      { name: 'echo' },
      null,
    ];
    const [now] = await list('tools/list', { tools: items }, { server: undefined });
    expect(now).toEqual({ tools: [items[0]] });
  });

  it('is the very same when nothing is hidden, and when it is none', async () => {
    for (const response of [{ tools: [{ name: 'echo' }] }, { tools: [] }, { tools: 'x' }, {}]) {
      const [now, later] = await list('tools/list', response);
      expect(now).toBe(response);
      expect(later).toBe(response);
    }
  });
});
