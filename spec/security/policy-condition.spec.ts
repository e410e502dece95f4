import { describe, expect, it } from '@jest/globals';
import { conditionOf } from '../../lib/security/policy-condition.ts';
import type { ConditionEvaluator, ConditionVariables } from '../../lib/security/policy-condition.ts';
import { createPolicy } from '../../lib/security/policy.ts';

describe('a condition in text', () => {
  const seen: ConditionVariables[] = [];
  /** Understands `path == "text"`, and throws at a path that is not there, as CEL does. */
  const evaluator: ConditionEvaluator = {
    compile(source) {
      const [, path, expected] = /^([\w.]+) == "(\w+)"$/.exec(source) ?? [];
      if (path === undefined) throw new SyntaxError(`cannot parse ${source}`);
      return (variables) => {
        seen.push(variables);
        let value: unknown = variables;
        for (const part of path.split('.')) {
          value = (value as Record<string, unknown>)[part];
          if (value === undefined) throw new ReferenceError(`no such key: ${part}`);
        }
        return value === expected;
      };
    },
  };
  const query = {
    operation: 'tools.call',
    server: 'docs',
    tool: 'echo',
    principal: { id: 'alice' },
  } as const;

  it.each([
    ['mcp.tool.name == "echo"', 'allow'],
    ['mcp.tool.name == "other"', 'deny'],
    ['mcp.tool.target == "docs"', 'allow'],
    ['jwt.sub == "alice"', 'allow'],
    ['jwt.group == "staff"', 'deny'],
    ['mcp.prompt.name == "echo"', 'deny'],
  ])('%s: %s', (when, effect) => {
    expect(createPolicy([{ effect: 'allow', when }], { conditions: evaluator }).decide(query).effect).toBe(
      effect,
    );
  });

  it('sees verified claims instead of the id', () => {
    const policy = createPolicy([{ effect: 'allow', when: 'jwt.group == "staff"' }], {
      conditions: evaluator,
    });
    expect(policy.decide({ ...query, claims: { group: 'staff' } }).effect).toBe('allow');
  });

  it('is refused when the evaluator cannot parse it', () => {
    expect(() => createPolicy([{ effect: 'allow', when: '1 +' }], { conditions: evaluator })).toThrow(
      '[config_invalid] policy.rules[0].when: cannot parse 1 +',
    );
  });

  it('gets everything a rule may ask about', () => {
    conditionOf(
      'operation == "vendor"',
      evaluator,
    )({ operation: 'vendor', method: 'a/b', resource: 'x://y', prompt: 'p', arguments: { n: 1 } });
    expect(seen.at(-1)).toEqual({
      mcp: { prompt: { name: 'p', target: undefined }, resource: { name: 'x://y', target: undefined } },
      jwt: { sub: '' },
      principal: { id: '', roles: [], capabilities: [], tenant: '' },
      operation: 'vendor',
      method: 'a/b',
      server: undefined,
      arguments: { n: 1 },
    });
  });
});
