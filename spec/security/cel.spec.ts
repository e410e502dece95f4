import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TroupeError } from '../../lib/core/errors.ts';
import { createCel } from '../../lib/security/cel.ts';
import type { PolicyQuery } from '../../lib/security/policy-engine.ts';
import { createPolicy } from '../../lib/security/policy.ts';

const QUERY: PolicyQuery = {
  operation: 'tools.call',
  server: 'bank',
  tool: 'pay',
  principal: { id: 'alice', roles: ['clerk'], capabilities: ['spend'], tenant: 'acme' },
  arguments: { amount: 50, to: { iban: 'NL1', tags: ['rent'] } },
};

const decide = (when: string, query: Partial<PolicyQuery> = {}) =>
  createPolicy([{ effect: 'allow', when }]).decide({ ...QUERY, ...query });

describe('a condition in CEL', () => {
  it.each([
    ['arguments.amount < 100', 'allow'],
    ['arguments.amount == 50 && arguments.amount != 49.5', 'allow'],
    ['arguments.amount > 100', 'deny'],
    ['mcp.tool.name == "pay" && mcp.tool.target == "bank" && server == "bank"', 'allow'],
    ['operation == "tools.call" && method == null', 'allow'],
    ['"clerk" in principal.roles && principal.capabilities.exists(c, c == "spend")', 'allow'],
    ['principal.tenant == "acme" && jwt.sub == "alice"', 'allow'],
    ['"rent" in arguments.to.tags && has(arguments.to.iban)', 'allow'],
    ['arguments.?limit.orValue(10) == 10', 'allow'],
    ['arguments.to.iban.matches("^NL[0-9]+$")', 'allow'],
    ['arguments.to.iban.matches("^DE") || arguments.to.iban.startsWith("DE")', 'deny'],
    ['has(mcp.prompt)', 'deny'],
  ])('%s: %s', (when, effect) => {
    expect(decide(when).effect).toBe(effect);
  });

  it.each([
    ['arguments.amount <', 'Unexpected token: EOF (line 1, column 19)'],
    ['arguments.amount < 100\n  && )', 'Unexpected token: RPAREN (line 2, column 6)'],
    ['argument.amount < 100', 'Unknown variable: argument (line 1, column 1)'],
    ['principal.id.mathces("x")', 'found no matching overload'],
    ['1 + 1', 'the condition is int, not true or false'],
    ['"yes"', 'the condition is string, not true or false'],
    [`${'('.repeat(300)}true${')'.repeat(300)}`, 'Exceeded maxDepth'],
    [`principal.id == "${'x'.repeat(5000)}"`, 'the condition has 5018 characters, at most 4096 are read'],
  ])('that is wrong is refused with rule and place: %j', (when, message) => {
    let refused: unknown;
    try {
      createPolicy([{ effect: 'allow' }, { effect: 'deny', when }]);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(TroupeError);
    expect(refused).toMatchObject({ code: 'config_invalid', data: { field: 'policy.rules[1].when' } });
    expect((refused as TroupeError).message).toContain(`policy.rules[1].when: ${message}`);
  });

  it.each([
    ['a key that is not there', 'arguments.limit < 100', 'No such key: limit (line 1, column 11)'],
    ['a type that does not fit', 'arguments.to < 100', 'no such overload'],
    ['an answer that is neither true nor false', 'arguments.amount', 'not true or false'],
    ['what objects inherit', 'arguments.constructor == null', 'No such key: constructor'],
    ['a pattern that is none', 'arguments.to.iban.matches("(")', 'missing closing'],
    ['a text that is none', 'arguments.amount.matches("5")', 'matches compares a text with a pattern'],
  ])('denies over %s, also in a rule that would deny', (_what, when, reason) => {
    expect(decide(when)).toMatchObject({ effect: 'deny', reason: expect.stringContaining(reason) });
    expect(
      createPolicy([{ effect: 'allow' }, { id: 'no', effect: 'deny', when }]).decide(QUERY),
    ).toMatchObject({
      effect: 'deny',
      ruleId: 'no',
      reason: expect.stringContaining(reason),
    });
  });

  it('is not held up by a pattern over the text of a caller', () => {
    const started = performance.now();
    expect(
      decide('arguments.text.matches("^(a+)+$")', { arguments: { text: `${'a'.repeat(50_000)}!` } }).effect,
    ).toBe('deny');
    // With backtracking this would outlast the universe; RE2 takes some milliseconds.
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('reads no pattern of any length that a caller may send', () => {
    const query = { arguments: { pattern: 'a'.repeat(1_001) } };
    expect(decide('"a".matches(arguments.pattern)', query).reason).toContain('at most 1000');
  });

  it('decides, whatever the arguments are', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (given) => {
        const { effect } = decide('arguments.amount < 100 && !arguments.to.admin', {
          arguments: given,
        });
        expect(['allow', 'deny']).toContain(effect);
      }),
    );
  });

  it('is compiled once: what it says does not change with who asks', () => {
    const condition = createCel().compile('principal.id == "alice"');
    const variables = (id: string) => ({
      mcp: {},
      jwt: {},
      principal: { id },
      operation: 'tools.call',
      method: undefined,
      server: undefined,
      arguments: {},
    });
    expect([
      condition(variables('alice')),
      condition(variables('bob')),
      condition(variables('alice')),
    ]).toEqual([true, false, true]);
  });
});
