import { describe, expect, it } from '@jest/globals';
import { agreement, toolsFingerprint } from '../../lib/routing/fingerprints.ts';

const tool = (name: string, properties: Record<string, unknown> = { q: { type: 'string' } }) => ({
  name,
  inputSchema: { type: 'object', properties },
});

describe('tool fingerprints', () => {
  it('do not depend on the order of tools or keys, nor on descriptions', () => {
    const one = toolsFingerprint([tool('a'), { ...tool('b'), description: 'old' } as never]);
    const other = toolsFingerprint([
      {
        description: 'new',
        inputSchema: { properties: { q: { type: 'string' } }, type: 'object' },
        name: 'b',
      } as never,
      tool('a'),
    ]);
    expect(other).toBe(one);
  });

  it.each([
    ['a name', [tool('a2')]],
    ['a schema', [tool('a', { q: { type: 'number' } })]],
    ['an output schema', [{ ...tool('a'), outputSchema: { type: 'object' } }]],
    ['one more', [tool('a'), tool('b')]],
    ['the order of an enum', [tool('a', { q: { enum: ['y', 'x'] } })]],
  ])('change with %s', (_, tools) => {
    expect(toolsFingerprint(tools)).not.toBe(toolsFingerprint([tool('a')]));
    expect(toolsFingerprint(tools)).not.toBe(toolsFingerprint([tool('a', { q: { enum: ['x', 'y'] } })]));
  });
});

describe('agreement', () => {
  const replicas = (...prints: (string | undefined)[]) =>
    prints.map((fingerprint, i) => ({ id: `r${i}`, fingerprint }));

  it('has the odd ones out, and nobody who has not listed yet', () => {
    expect(agreement(replicas('v1', 'v2', 'v1', undefined))).toEqual({
      fingerprint: 'v1',
      odd: ['r1'],
      groups: [
        { fingerprint: 'v1', ids: ['r0', 'r2'] },
        { fingerprint: 'v2', ids: ['r1'] },
      ],
    });
    expect(agreement(replicas(undefined, undefined))).toEqual({
      fingerprint: undefined,
      odd: [],
      groups: [],
    });
    expect(agreement([])).toEqual({ fingerprint: undefined, odd: [], groups: [] });
  });

  it('goes with the majority through a rolling upgrade, and does not flip at the half', () => {
    expect(agreement(replicas('v2', 'v1', 'v1', 'v1'), 'v1').odd).toEqual(['r0']);
    expect(agreement(replicas('v2', 'v2', 'v1', 'v1'), 'v1').odd).toEqual(['r0', 'r1']);
    expect(agreement(replicas('v2', 'v2', 'v2', 'v1'), 'v1').odd).toEqual(['r3']);
    expect(agreement(replicas('v2', 'v1')).fingerprint).toBe('v2');
  });
});
