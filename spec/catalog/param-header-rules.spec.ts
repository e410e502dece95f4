import { describe, expect, it } from '@jest/globals';
import { brokenParamHeader } from '../../lib/catalog/param-header-rules.ts';

const marked = (type: unknown, header: unknown = 'Region'): Record<string, unknown> => ({
  type,
  'x-mcp-header': header,
});
const object = (properties: Record<string, unknown>): Record<string, unknown> => ({
  type: 'object',
  properties,
});

describe('brokenParamHeader', () => {
  it.each([
    ['none', object({ a: { type: 'string' } })],
    [
      'string, integer and boolean',
      object({ a: marked('string', 'A'), b: marked('integer', 'B'), c: marked('boolean', 'C') }),
    ],
    ['deep below properties', object({ a: object({ b: object({ c: marked('string') }) }) })],
    ['a property that is called so', object({ 'x-mcp-header': { type: 'string' } })],
    ['a property called as a keyword', object({ items: marked('string'), __proto__: { type: 'string' } })],
    ['no schema', undefined],
  ])('accepts %s', (_, schema) => {
    expect(brokenParamHeader(schema)).toBeUndefined();
  });

  it.each([
    ['a number', object({ a: marked('number') }), /"a" stands on a type other than/],
    ['an object', object({ a: marked('object') }), /other than string/],
    ['several types', object({ a: marked(['string', 'null']) }), /other than string/],
    ['no type', object({ a: { 'x-mcp-header': 'A' } }), /other than string/],
    ['an empty name', object({ a: marked('string', '') }), /not a header token/],
    ['a name with a space', object({ a: marked('string', 'My Region') }), /not a header token/],
    ['a line end', object({ a: marked('string', 'A\r\nX: y') }), /not a header token/],
    ['no string', object({ a: marked('string', 7) }), /not a header token/],
    ['the root', { ...object({}), 'x-mcp-header': 'A' }, /root of inputSchema is not reached/],
    ['items', object({ a: { type: 'array', items: marked('string') } }), /not reached/],
    ['anyOf', object({ a: { anyOf: [{ type: 'null' }, marked('string')] } }), /not reached/],
    ['properties below items', object({ a: { items: object({ b: marked('string') }) } }), /not reached/],
    ['$defs', { ...object({}), $defs: { A: marked('string') } }, /not reached/],
    ['patternProperties', { ...object({}), patternProperties: { '^a': marked('string') } }, /not reached/],
    [
      'two names equal but for case',
      object({ a: marked('string', 'Region'), b: marked('string', 'REGION') }),
      /too$/,
    ],
  ])('refuses %s', (_, schema, reason) => {
    expect(brokenParamHeader(schema)).toMatch(reason);
  });

  it('ends in a schema that contains itself, and in one that is nested ten thousand times', () => {
    const loop = object({});
    loop['properties'] = { loop };
    expect(brokenParamHeader(loop)).toMatch(/more than/);
    let deep: Record<string, unknown> = { type: 'string' };
    for (let i = 0; i < 10_000; i += 1) deep = { not: deep };
    expect(brokenParamHeader(object({ deep }))).toBeUndefined();
  });
});
