import { describe, expect, it } from '@jest/globals';
import { createCel } from '../../lib/security/cel.ts';
import { compileRule } from '../../lib/security/policy-rule.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';

const compile = (rule: unknown): ReturnType<typeof compileRule> =>
  compileRule(rule as PolicyRule, 'policy.rules[2]', undefined, createCel());

describe('a rule from a configuration', () => {
  it.each<[unknown, string]>([
    [null, 'policy.rules[2]: a rule is an object'],
    [[], 'policy.rules[2]: a rule is an object'],
    ['allow', 'policy.rules[2]: a rule is an object'],
    [{}, 'policy.rules[2].effect: must be "allow" or "deny"'],
    [{ effect: 'permit' }, 'policy.rules[2].effect'],
    [{ effect: 'allow', tool: ['x'] }, 'policy.rules[2].tool: unknown field'],
    [{ effect: 'allow', tools: [] }, 'policy.rules[2].tools: must be a list of at least one text'],
    [{ effect: 'allow', tools: 'echo' }, 'policy.rules[2].tools'],
    [{ effect: 'allow', tools: [''] }, 'policy.rules[2].tools'],
    [{ effect: 'allow', roles: [7] }, 'policy.rules[2].roles'],
    [
      { effect: 'allow', servers: ['a\\'] },
      'policy.rules[2].servers: the pattern ends with a lone backslash',
    ],
    [
      { effect: 'allow', resources: ['file:///a/../b'] },
      'policy.rules[2].resources: a pattern has no dot segments',
    ],
    [
      { effect: 'allow', operations: ['tools.destroy'] },
      'policy.rules[2].operations: "tools.destroy" is no operation; known: tools.call',
    ],
    [{ effect: 'allow', operations: ['vendor:'] }, 'policy.rules[2].operations: the pattern is empty'],
    [{ effect: 'allow', when: 7 }, 'policy.rules[2].when'],
    [
      { effect: 'allow', when: 'jwt.sub ==' },
      'policy.rules[2].when: Unexpected token: EOF (line 1, column 11)',
    ],
    [{ effect: 'allow', id: '' }, 'policy.rules[2].id'],
    [{ effect: 'allow', id: 'config:docs' }, 'policy.rules[2].id: "config:" and "default:" are ours'],
  ])('%j is refused', (rule, message) => {
    expect(() => compile(rule)).toThrow(`[config_invalid] ${message}`);
  });

  it('is known by its place when it has no id', () => {
    expect(compile({ effect: 'deny' }).decision).toEqual({
      effect: 'deny',
      ruleId: 'policy.rules[2]',
      ruleSource: 'policy.rules[2]',
      reason: 'denied by rule "policy.rules[2]"',
    });
  });

  it('that allows without naming operations is about using servers; one that denies is about everything', () => {
    const allow = compile({ effect: 'allow' }).families;
    const deny = compile({ effect: 'deny' }).families;
    expect(allow).not.toEqual(expect.arrayContaining(['sampling']));
    expect(allow).not.toContain('admin');
    expect(deny).toEqual(
      expect.arrayContaining(['sampling', 'elicitation', 'roots', 'admin', 'vendor', 'tools.call']),
    );
  });
});
