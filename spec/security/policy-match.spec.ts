import { describe, expect, it } from '@jest/globals';
import { createCel } from '../../lib/security/cel.ts';
import type { PolicyQuery } from '../../lib/security/policy-engine.ts';
import { applies, traitsOf } from '../../lib/security/policy-match.ts';
import { compileRule } from '../../lib/security/policy-rule.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { normaliseUri } from '../../lib/security/uri.ts';

function fits(rule: PolicyRule, query: PolicyQuery): boolean {
  return applies(compileRule(rule, 'r', undefined, createCel()), {
    query,
    who: query.principal ?? { id: '@host' },
    traits: traitsOf(query.operation),
    uri: query.resource === undefined ? undefined : normaliseUri(query.resource),
    roleCapabilities: new Map([['user', new Set(['read'])]]),
  });
}

describe('a rule that lacks a fact', () => {
  it.each<[Partial<PolicyRule>, PolicyQuery]>([
    [{ tools: ['t'] }, { operation: 'tools.call', server: 's' }],
    [{ resources: ['x://y'] }, { operation: 'resources.read', server: 's' }],
    [{ prompts: ['p'] }, { operation: 'prompts.get', server: 's' }],
    [{ prompts: ['p'] }, { operation: 'completion', server: 's' }],
    [{ resources: ['x://y'] }, { operation: 'completion', server: 's' }],
    [{ servers: ['s'] }, { operation: 'tools.call', tool: 't' }],
    [{ operations: ['vendor:a/b'] }, { operation: 'vendor', server: 's' }],
  ])('%j denies and does not allow: %j', (rule, query) => {
    expect(fits({ effect: 'deny', ...rule }, query)).toBe(true);
    expect(fits({ effect: 'allow', ...rule }, query)).toBe(false);
  });

  it.each<[Partial<PolicyRule>, PolicyQuery]>([
    [{ tools: ['t'] }, { operation: 'tools.list', server: 's' }],
    [{ servers: ['s'] }, { operation: 'tools.list' }],
    [{ tools: ['t'] }, { operation: 'completion', server: 's' }],
    [{ tools: ['t'] }, { operation: 'sampling', server: 's' }],
  ])('%j is about something else: %j', (rule, query) => {
    expect(fits({ effect: 'deny', ...rule }, query)).toBe(false);
    expect(fits({ effect: 'allow', ...rule }, query)).toBe(false);
  });
});

describe('a rule about resources', () => {
  const query: PolicyQuery = { operation: 'resources.read', server: 's', resource: 'x://y?q=1' };

  it('that denies without a query denies with any; one that allows does not', () => {
    expect(fits({ effect: 'deny', resources: ['x://y'] }, query)).toBe(true);
    expect(fits({ effect: 'allow', resources: ['x://y'] }, query)).toBe(false);
    expect(fits({ effect: 'allow', resources: ['x://y?q=*'] }, query)).toBe(true);
  });
});

describe('who asks', () => {
  const query: PolicyQuery = {
    operation: 'tools.call',
    server: 's',
    tool: 't',
    principal: { id: 'a', roles: ['user'], capabilities: ['x'] },
  };

  it.each<[Partial<PolicyRule>, boolean]>([
    [{ capabilities: ['x', 'read'] }, true],
    [{ capabilities: ['x', 'write'] }, false],
    [{ roles: ['admin', 'user'] }, true],
    [{ roles: ['User'] }, false],
    [{ principals: ['?'] }, true],
  ])('%j: %s', (rule, expected) => {
    expect(fits({ effect: 'allow', ...rule }, query)).toBe(expected);
  });
});
