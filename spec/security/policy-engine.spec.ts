import { describe, expect, it } from '@jest/globals';
import { askPolicy } from '../../lib/security/policy-engine.ts';
import type { Decision } from '../../lib/security/policy-engine.ts';

const query = { operation: 'tools.call', server: 's', tool: 'x' } as const;
const yes: Decision = { effect: 'allow', ruleId: 'a', ruleSource: 'a', reason: 'a' };

describe('asking an engine from outside', () => {
  it('gives its decision at once, or when it has one', async () => {
    expect(askPolicy({ decide: () => yes }, query)).toBe(yes);
    expect(await askPolicy({ decide: () => Promise.resolve(yes) }, query)).toBe(yes);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no connection');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no connection'))],
    ['answers nothing', () => undefined],
    ['answers null', () => null],
    ['answers true', () => true],
    ['answers an unknown effect', () => ({ effect: 'permit' })],
    ['promises rubbish', () => Promise.resolve('allow')],
  ])('takes one that %s for a no', async (_what, decide) => {
    const decision = await askPolicy({ decide: decide as () => Decision }, query);
    expect(decision).toMatchObject({ effect: 'deny', ruleId: 'default:engine-failed' });
    expect(decision.reason).toMatch(/^the policy engine failed: (no connection|it answered no decision)$/);
  });
});
