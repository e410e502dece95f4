import { describe, it, expect, jest } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import type { Json } from '../../../lib/core/json-rpc.ts';
import { createValidators } from '../../../lib/mcp/wire/validators.ts';
import type { Validation } from '../../../lib/mcp/wire/validators.ts';

// The machine may be busy; nothing here waits.
jest.setTimeout(60_000);

const limits = { schemaBytes: 262_144, schemaDepth: 32, schemaRefs: 256 };
const validators = createValidators({ limits });
const check = (schema: Json, value: unknown): Validation => validators.check(schema, value, 'result of "t"');
const outcome = (schema: Json, value: unknown): string => check(schema, value).outcome;
const reason = (schema: Json, value: unknown): string => {
  const result = check(schema, value);
  return result.outcome === 'valid' ? '' : result.reason;
};
const times = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
const map = <T>(n: number, make: (i: number) => T): Record<string, T> =>
  Object.fromEntries(times(n, (i) => [`k${i}`, make(i)]));

describe('check', () => {
  const schema = {
    type: 'object',
    properties: {
      name: { type: 'string', minLength: 1 },
      tags: { type: 'array', items: { enum: ['a', 'b'] } },
    },
    required: ['name'],
    additionalProperties: false,
  };

  it('says valid without allocating', () => {
    expect(check(schema, { name: 'x', tags: ['a'] })).toBe(check(schema, { name: 'y' }));
  });

  it.each([
    [{}, `result of "t" must have required property 'name'`],
    [{ name: '' }, 'result of "t"/name must NOT have fewer than 1 characters'],
    [{ name: 'x', tags: ['c'] }, 'result of "t"/tags/0 must be equal to one of the allowed values'],
    [{ name: 'x', more: 1 }, 'result of "t" must NOT have additional properties ("more")'],
    [[], 'result of "t" must be object'],
  ])('%j: %s', (value, text) => {
    expect(check(schema, value)).toEqual({ outcome: 'invalid', reason: text });
  });

  it('takes the schemas true and false', () => {
    expect(validators.check(true, 1, 'w').outcome).toBe('valid');
    expect(validators.check(false, 1, 'w')).toEqual({ outcome: 'invalid', reason: 'w is not allowed' });
  });

  it('follows the dialect of `$schema`, 2020-12 by default', () => {
    const draft07 = { $schema: 'http://json-schema.org/draft-07/schema#', items: [{ type: 'string' }] };
    expect(outcome(draft07, [1])).toBe('invalid');
    const draft2019 = {
      $schema: 'https://json-schema.org/draft/2019-09/schema',
      items: [{ type: 'string' }],
    };
    expect(outcome(draft2019, [1])).toBe('invalid');
    expect(outcome({ prefixItems: [{ type: 'string' }] }, [1])).toBe('invalid');
    expect(outcome({ $schema: 'urn:of-our-own', prefixItems: [{ type: 'string' }] }, [1])).toBe('invalid');
  });

  it('takes names of Object.prototype for what they are', () => {
    const odd = {
      type: 'object',
      properties: { constructor: { type: 'string' }, toString: { type: 'number' } },
      required: ['valueOf'],
    };
    expect(outcome(odd, {})).toBe('invalid');
    expect(outcome(odd, { valueOf: 1 })).toBe('valid');
    expect(outcome(odd, { valueOf: 1, constructor: 1 })).toBe('invalid');
    expect(outcome(JSON.parse('{"properties":{"__proto__":{"type":"string"}}}') as Json, {})).toBe('valid');
    expect(({} as { type?: unknown }).type).toBeUndefined();
  });

  it('answers the same as plain ajv for honest schemas', () => {
    const leaf = fc.constantFrom<Json>(
      { type: 'string', maxLength: 3 },
      { type: 'number', minimum: 0 },
      { enum: ['a', 1, null] },
      { const: { a: 1 } },
      { type: ['string', 'null'], pattern: '^a*$' },
      { uniqueItems: true },
    );
    const tree = fc.letrec<{ node: Json }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        leaf,
        fc.record({ type: fc.constant('array'), items: tie('node') }),
        fc.record({
          type: fc.constant('object'),
          properties: fc.dictionary(fc.constantFrom('a', 'b'), tie('node')),
        }),
        fc.record({ anyOf: fc.array(tie('node'), { minLength: 1, maxLength: 3 }) }),
        fc.record({ not: tie('node') }),
        fc.record({ oneOf: fc.array(tie('node'), { minLength: 1, maxLength: 3 }), title: fc.constant('t') }),
        fc.record({ patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), tie('node')) }),
      ),
    })).node;
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.dictionary(
        fc.constantFrom('a', 'b', 'ab'),
        fc.oneof(fc.constantFrom('a', 'aaaa', 1, -1, null), fc.array(fc.nat(3))),
      ),
    );
    const ajv = new Ajv2020({ strict: false });
    fc.assert(
      fc.property(tree, value, (schema, instance) => {
        // Not `structuredClone`: under Jest its objects are of another realm, in which nothing equals ours.
        const plain = ajv.compile(JSON.parse(JSON.stringify(schema)) as Json);
        expect(outcome(schema, instance)).toBe(plain(instance) ? 'valid' : 'invalid');
      }),
      { numRuns: 150, examples: [[{ oneOf: [{ const: { a: 1 } }] }, { a: 1 }]] },
    );
  });
});

describe('the store of compiled schemas', () => {
  it('compiles at the first check and knows equal schemas by their content', () => {
    const own = createValidators({ limits });
    expect(own.size).toBe(0);
    own.check({ type: 'string' }, 'x', 'w');
    own.check({ type: 'string' }, 'y', 'w');
    expect(own.size).toBe(1);
  });

  it('keeps a bounded number, and a bounded size', () => {
    const few = createValidators({ limits, maxSchemas: 3 });
    for (const n of times(10, (i) => i)) expect(few.check({ minimum: n }, n, 'w').outcome).toBe('valid');
    expect(few.size).toBe(3);
    const small = createValidators({ limits, maxSchemaBytes: 5_000 });
    for (const n of times(10, (i) => i)) small.check({ enum: [n, 'x'.repeat(2_000)] }, n, 'w');
    expect(small.size).toBe(2);
  });

  it('still answers when a schema object outlives its compiled form', () => {
    const one = createValidators({ limits, maxSchemas: 1 });
    const schema = { type: 'string' };
    one.check(schema, 'x', 'w');
    one.check({ type: 'number' }, 1, 'w');
    expect(one.check(schema, 1, 'w').outcome).toBe('invalid');
  });

  it('keeps two servers with one `$id` apart, and a schema that changed under its `$id`', () => {
    const id = 'https://example.com/answer';
    const nested = (type: string): Json => ({
      $id: id,
      $defs: { part: { $id: 'https://example.com/part', type } },
      properties: { a: { $ref: 'https://example.com/part' } },
    });
    expect(outcome(nested('string'), { a: 'x' })).toBe('valid');
    expect(outcome(nested('number'), { a: 1 })).toBe('valid');
    expect(outcome(nested('string'), { a: 1 })).toBe('invalid');
    expect(outcome({ $ref: 'https://example.com/part' }, 1)).toBe('unsupported');
  });
});

describe('schemas that cannot be checked', () => {
  it.each<[string, Json]>([
    ['a remote reference', { $ref: 'https://example.com/x.json' }],
    ['a file reference', { $ref: 'file:///etc/passwd' }],
    ['look-around', { pattern: '(?=x)' }],
    ['a back-reference', { pattern: '(a)\\1' }],
    ['a broken pattern', { patternProperties: { '(': {} } }],
    ['no schema at all', { type: 'strin' }],
    ['a keyword of the wrong type', { properties: 5 }],
    ['a reference into data', { const: { allOf: [{ $ref: '#/const' }] }, allOf: [{ $ref: '#/const' }] }],
  ])('%s', (_, schema) => {
    const result = check(schema, 'x');
    expect(result.outcome).toBe('unsupported');
    expect(check(schema, 'x')).toEqual(result);
  });

  it('prints nothing a server wrote', () => {
    const spies = (['log', 'warn', 'error', 'info', 'debug'] as const).map((name) =>
      jest.spyOn(console, name),
    );
    check(
      { type: 'string', format: 'evil\n\u001b[31m', $comment: 'x', nonsense: 1, $schema: 'http://evil/' },
      'x',
    );
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
  });

  it('is not fooled by a schema that wants to be checked asynchronously', () => {
    expect(outcome({ $async: true, type: 'string' }, 1)).toBe('invalid');
    expect(outcome({ $defs: { a: { $async: true, type: 'string' } }, $ref: '#/$defs/a' }, 1)).toBe('invalid');
  });

  it('does not run what stands in a schema', () => {
    const code = '0; globalThis.pwned = true; //';
    check(
      { minimum: code, maxLength: code, required: [code], properties: { [code]: { const: code } } },
      { a: 1 },
    );
    check({ required: [`'${code}`, '`${globalThis.pwned = 1}`'], enum: [code] }, 1);
    expect((globalThis as { pwned?: unknown }).pwned).toBeUndefined();
  });

  it('keeps the reason to one short line', () => {
    const text = reason({ additionalProperties: false }, { [`a\n${'b'.repeat(100_000)}`]: 1 });
    expect(text.length).toBeLessThan(2_200);
    expect(text).toContain('a\\u000a');
    const deep = reason({ additionalProperties: { type: 'string' } }, { ['k'.repeat(100_000)]: 1 });
    expect(deep.length).toBeLessThan(2_200);
  });
});

/**
 * Schemas and values that block plain ajv for seconds or for ever. Each first check, compiling included, is promised
 * to take about 50 ms. Counted is what this process works, not how long it waits, since other work runs beside it; and
 * the bound is wide, since the compiler and the collector of V8 are counted with it.
 */
describe('hostile schemas', () => {
  const BOUND_MS = 1_000;
  const doubling = (n: number, twice: (ref: Json) => Json): Json => ({
    $defs: { ...map(n, (i) => twice({ $ref: `#/$defs/k${i + 1}` })), [`k${n}`]: { type: 'number' } },
    $ref: '#/$defs/k0',
  });
  const deepValue = (n: number): unknown => times(n, (i) => i).reduce<unknown>((x) => ({ x }), 1);
  const selfTwice = {
    allOf: [{ properties: { x: { $ref: '#/$defs/a' } } }, { properties: { x: { $ref: '#/$defs/a' } } }],
  };

  it.each<[string, string, Json, unknown]>([
    ['ReDoS', 'invalid', { pattern: '^(a+)+$' }, `${'a'.repeat(30_000)}b`],
    ['ReDoS on a large text', 'unsupported', { pattern: '^(a+)+$' }, `${'a'.repeat(1_000_000)}b`],
    ['many states', 'unsupported', { pattern: '(a|b)*a(a|b){100}c' }, 'ab'.repeat(50_000)],
    ['counted repetitions', 'unsupported', { pattern: `(?:${'a'.repeat(4_000)}){1000}` }, 'a'],
    [
      'many patterns',
      'unsupported',
      { allOf: times(100, (i) => ({ pattern: `((a{0,30}){0,${i % 30}})` })) },
      'a',
    ],
    [
      'patterns over many names',
      'unsupported',
      { patternProperties: { '^(x+x+)+y$': {} } },
      map(50_000, () => 1),
    ],
    ['allOf doubling, 10', 'valid', doubling(10, (ref) => ({ allOf: [ref, ref] })), 1],
    ['allOf doubling, 24', 'unsupported', doubling(24, (ref) => ({ allOf: [ref, ref] })), 1],
    ['allOf doubling, 60', 'unsupported', doubling(60, (ref) => ({ allOf: [ref, ref] })), 1],
    ['anyOf doubling', 'unsupported', doubling(29, (ref) => ({ anyOf: [ref, ref] })), 'x'],
    [
      'a recursive schema that doubles',
      'unsupported',
      { $defs: { a: selfTwice }, $ref: '#/$defs/a' },
      deepValue(90),
    ],
    ['a large schema', 'unsupported', { description: 'x'.repeat(300_000) }, 1],
    [
      'a deep schema',
      'unsupported',
      times(60, (i) => i).reduce<Json>((s) => ({ properties: { a: s } }), {}),
      {},
    ],
    [
      'many references',
      'unsupported',
      { allOf: times(300, () => ({ $ref: '#/$defs/a' })), $defs: { a: {} } },
      1,
    ],
    ['many properties', 'unsupported', { properties: map(5_000, () => ({ type: 'string' })) }, {}],
    ['many dependents', 'unsupported', { dependentRequired: { a: times(10_000, (i) => `k${i}`) } }, { a: 1 }],
    ['many dependencies', 'unsupported', { dependencies: map(5_000, () => ['x']) }, { a: 1 }],
    ['a long enum', 'invalid', { enum: times(15_000, (i) => `k${i}`) }, 'x'],
    [
      'a long enum for many',
      'invalid',
      { items: { enum: times(3_000, (i) => ({ a: 'x', i })) } },
      times(20_000, () => ({ a: 'x', i: -1 })),
    ],
    ['unique objects', 'unsupported', { uniqueItems: true }, times(100_000, (i) => ({ i }))],
    ['unique objects, few', 'valid', { uniqueItems: true }, times(300, (i) => ({ i }))],
    [
      'long texts measured often',
      'unsupported',
      { allOf: times(300, () => ({ minLength: 5 })) },
      'x'.repeat(4_000_000),
    ],
    ['a million wrong items', 'invalid', { items: { type: 'string' } }, times(1_000_000, () => 1)],
    ['a million items', 'unsupported', { items: { type: 'string' } }, times(1_000_000, () => 'a')],
    ['100 000 items', 'valid', { items: { type: 'string' } }, times(100_000, () => 'a')],
  ])('%s: %s', (_, expected, schema, value) => {
    const own = createValidators({ limits });
    const start = process.cpuUsage();
    const result = own.check(schema, value, 'w');
    const { user, system } = process.cpuUsage(start);
    expect((user + system) / 1_000).toBeLessThan(BOUND_MS);
    expect(result.outcome).toBe(expected);
  });

  it.each(['/weird/a', '/weird/properties', '/weird/required', '/default', '/weird/if/items'])(
    'counts the work of what lies in an unknown place: %s',
    (pointer) => {
      const twice = { properties: { x: { $ref: `#${pointer}` } } };
      const target = { allOf: [twice, { ...twice }] };
      const inside = pointer
        .slice(1)
        .split('/')
        .toReversed()
        .reduce<Json>((value, key) => ({ [key]: value }), target);
      expect(outcome({ ...inside, $ref: `#${pointer}` }, deepValue(90))).toBe('unsupported');
    },
  );

  it('knows a name from a keyword in a reference', () => {
    expect(outcome({ $defs: { const: { type: 'string' } }, $ref: '#/$defs/const' }, 1)).toBe('invalid');
    expect(outcome({ const: { type: 'string' }, allOf: [{ $ref: '#/%63onst' }] }, 1)).toBe('unsupported');
  });

  it('survives a loop of objects', () => {
    const schema: Record<string, unknown> = { type: 'object' };
    schema['properties'] = { a: schema };
    expect(outcome(schema, {})).toBe('unsupported');
    const value: Record<string, unknown> = {};
    value['a'] = value;
    expect(outcome({ properties: { a: { $ref: '#' } } }, value)).toBe('unsupported');
  });

  it('lets a recursive schema of the honest kind through', () => {
    const tree = {
      $defs: { t: { type: 'object', properties: { kids: { type: 'array', items: { $ref: '#/$defs/t' } } } } },
      $ref: '#/$defs/t',
    };
    const grow = (depth: number): unknown => (depth === 0 ? {} : { kids: times(4, () => grow(depth - 1)) });
    expect(outcome(tree, grow(5))).toBe('valid');
  });
});
