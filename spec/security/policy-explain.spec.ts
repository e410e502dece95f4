import { describe, expect, it } from '@jest/globals';
import type { PolicyQuery } from '../../lib/security/policy-engine.ts';
import { createPolicy } from '../../lib/security/policy.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';

const query: PolicyQuery = {
  operation: 'tools.call',
  server: 's',
  tool: 't',
  principal: { id: 'alice', roles: ['user'] },
};
const explained = (...rules: PolicyRule[]) => createPolicy(rules).explain(query);

describe('how near a rule came', () => {
  it.each<[PolicyRule, string]>([
    [{ effect: 'allow', operations: ['prompts.get'] }, 'it is about prompts.get, not tools.call'],
    [{ effect: 'allow', tools: ['x', 'y'] }, 'it is about x, y'],
    [{ effect: 'allow', resources: ['x://y'] }, 'it is about x://y'],
    [{ effect: 'allow', servers: ['mail'] }, 'it is about server mail'],
    [{ effect: 'allow', principals: ['bob'] }, 'it is for bob, not alice'],
    [{ effect: 'allow', roles: ['ops', 'admin'] }, 'it needs one of the roles ops, admin'],
    [{ effect: 'allow', capabilities: ['c'] }, 'it needs the capability c'],
    [{ effect: 'allow', when: () => false }, 'its condition does not hold'],
    [{ effect: 'allow', when: () => undefined as never }, 'its condition failed'],
  ])('%j', (rule, unmet) => {
    expect(explained(rule).nearest).toEqual([
      { ruleId: 'policy.rules[0]', ruleSource: 'policy.rules[0]', unmet: [unmet] },
    ]);
  });

  it('names as missing only what alone would have been enough', () => {
    expect(explained({ effect: 'allow', roles: ['ops', 'admin'] }).missing).toEqual([
      'role:ops | role:admin',
    ]);
    expect(explained({ effect: 'allow', roles: ['ops'], capabilities: ['c'] }).missing).toEqual([
      'role:ops',
      'capability:c',
    ]);
    expect(explained({ effect: 'allow', roles: ['ops'], servers: ['mail'] }).missing).toEqual([]);
  });

  it('shows three rules at most, the nearest first, and never one that denies', () => {
    const far = (id: string): PolicyRule => ({ id, effect: 'allow', roles: ['x'], servers: ['y'] });
    const near: PolicyRule = { id: 'near', effect: 'allow', roles: ['x'] };
    const { nearest } = explained(far('a'), far('b'), far('c'), near, {
      id: 'no',
      effect: 'deny',
      tools: ['z'],
    });
    expect(nearest.map(({ ruleId }) => ruleId)).toEqual(['near', 'a', 'b']);
  });
});
