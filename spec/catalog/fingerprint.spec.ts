import { describe, expect, it } from '@jest/globals';
import { fingerprintTool, fingerprintTools } from '../../lib/catalog/fingerprint.ts';

const tool = {
  name: 'read',
  title: 'Read',
  description: 'Reads a file',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } } },
  annotations: { readOnlyHint: true },
};

describe('fingerprintTool', () => {
  it('is the same in every run and for every order of keys', () => {
    const reordered = Object.fromEntries(Object.entries(tool).toReversed());
    expect(fingerprintTool(tool)).toMatch(/^[0-9a-f]{64}$/);
    expect(fingerprintTool(tool)).toBe('b7b07e87a7b2234135984cdbcb2e334ef037030b913a0705334673335afdc4bc');
    expect(fingerprintTool(reordered)).toBe(fingerprintTool(tool));
  });

  it.each([
    ['name', { name: 'write' }],
    ['title', { title: 'read' }],
    ['description', { description: 'Reads a file\u200b' }],
    [
      'inputSchema',
      { inputSchema: { type: 'object', properties: { path: { type: 'string', description: 'evil' } } } },
    ],
    ['outputSchema', { outputSchema: {} }],
    ['annotations', { annotations: { readOnlyHint: false } }],
    ['an absent field that is null', { outputSchema: null }],
  ])('changes with %s', (_, change) => {
    expect(fingerprintTool({ ...tool, ...change })).not.toBe(fingerprintTool(tool));
  });

  it('does not change with what no model reads', () => {
    const more = {
      ...tool,
      outputSchema: undefined,
      icons: [],
      _meta: { x: 1 },
      server: 's',
      originalName: 'read',
    };
    expect(fingerprintTool(more)).toBe(fingerprintTool(tool));
    expect(fingerprintTool({ ...tool, name: 's__read' }, 'read')).toBe(fingerprintTool(tool));
  });
});

describe('fingerprintTools', () => {
  it('goes by the tools, not by their order', () => {
    const other = { ...tool, name: 'write' };
    expect(fingerprintTools([tool, other])).toBe(fingerprintTools([other, tool]));
    const prints = [[], [tool], [tool, tool], [tool, other]].map((tools) => fingerprintTools(tools));
    expect(new Set(prints).size).toBe(4);
  });
});
