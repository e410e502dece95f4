import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TroupeError } from '../../lib/core/errors.ts';
import { REDACTED, createRedactor } from '../../lib/security/redaction.ts';

const secret = 's3cr3t-t0ken/+"x"';

describe('texts', () => {
  it('lose a secret in every usual form, wherever it stands', () => {
    const redactor = createRedactor([secret]);
    expect(redactor.text(`a ${secret} b ${secret}`)).toBe(`a ${REDACTED} b ${REDACTED}`);
    expect(redactor.text(JSON.stringify({ k: secret }))).toBe(`{"k":"${REDACTED}"}`);
    expect(redactor.text(`https://h/?k=${encodeURIComponent(secret)}&x=1`)).toBe(
      `https://h/?k=${REDACTED}&x=1`,
    );
    const basic = redactor.text(`Basic ${Buffer.from(`alice:${secret}:and more`).toString('base64')}`);
    expect(basic).toContain(REDACTED);
    expect(Buffer.from(basic.replace(/^Basic /, '').split(REDACTED)[0]!, 'base64').toString()).toBe('alice:');
  });

  it('are the very same where there is none', () => {
    const text = 'nothing here'.repeat(100);
    expect(createRedactor([secret]).text(text)).toBe(text);
    expect(createRedactor().text(secret)).toBe(secret);
  });

  it('lose one of a thousand secrets as well', () => {
    const many = Array.from({ length: 1000 }, (_, i) => `secret-number-${i}!`);
    expect(createRedactor(many).text('a secret-number-998! b secret-number-99')).toBe(
      `a ${REDACTED} b secret-number-99`,
    );
  });

  it('need time linear in their length, whatever the secrets', () => {
    const redactor = createRedactor(Array.from({ length: 50 }, (_, i) => `${'a'.repeat(20 + i)}b`));
    const text = 'a'.repeat(500_000);
    expect(redactor.text(text)).toBe(text);
    expect(redactor.text(`${text}b`)).toBe(`${'a'.repeat(500_000 - 69)}${REDACTED}`);
  });

  it('stay as they are after a second pass', () => {
    const secrets = fc.array(
      fc.string({
        unit: fc.constantFrom('[', ']', 'r', 'e', 'd', 'a', 'c', 't'),
        minLength: 8,
        maxLength: 12,
      }),
      { maxLength: 4 },
    );
    const piece = fc.oneof(
      fc.string({ unit: fc.constantFrom('[', ']', 'r', 'e', 'd', 'a', 'c', 't', ' '), maxLength: 12 }),
      fc.constant(REDACTED),
    );
    fc.assert(
      fc.property(secrets, fc.array(piece, { maxLength: 6 }), fc.nat(5), (all, pieces, at) => {
        const redactor = createRedactor(all);
        const text = pieces.toSpliced(at, 0, ...all).join('');
        const once = redactor.text(text);
        expect(redactor.text(once)).toBe(once);
      }),
      { numRuns: 1000 },
    );
  });

  it('hold no secret afterwards', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 8, maxLength: 16, unit: fc.constantFrom('x', 'y', 'z') }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.string(),
        (all, between) => {
          const text = createRedactor(all).text(all.join(between));
          expect(all.some((one) => text.includes(one))).toBe(false);
        },
      ),
    );
  });
});

describe('secrets', () => {
  it('are not looked for when they are too short, or look like the mark', () => {
    const redactor = createRedactor();
    expect(['short', 'redacted', `x${REDACTED}y`, 'long enough'].map((one) => redactor.add(one))).toEqual([
      false,
      false,
      false,
      true,
    ]);
    expect(redactor.text('short redacted')).toBe('short redacted');
  });

  it('are removed as often as they were added', () => {
    const redactor = createRedactor([secret]);
    redactor.add(secret);
    redactor.remove(secret);
    expect(redactor.text(secret)).toBe(REDACTED);
    redactor.remove(secret);
    expect(redactor.text(secret)).toBe(secret);
    redactor.remove(secret);
    redactor.remove('never added');
    redactor.add(secret);
    expect(redactor.text(secret)).toBe(REDACTED);
  });
});

describe('values', () => {
  const redactor = createRedactor([secret]);

  it('are copied without secrets, by value and by name', () => {
    const value = {
      url: `https://u:${secret}@h`,
      headers: { Authorization: 'Bearer short', 'X-Api-Key': 12345, accept: 'x' },
      list: [secret, { [secret]: 1 }],
      flags: { password: true, token: null },
      progressToken: 'p1',
    };
    expect(redactor.value(value)).toEqual({
      url: expect.stringContaining(REDACTED),
      headers: { Authorization: REDACTED, 'X-Api-Key': REDACTED, accept: 'x' },
      list: [REDACTED, { [REDACTED]: 1 }],
      flags: { password: true, token: null },
      progressToken: 'p1',
    });
    expect(JSON.stringify(redactor.value(value))).not.toContain('s3cr3t');
  });

  it('show errors with message, stack and cause, without secrets', () => {
    const error = new TroupeError('internal', `failed with ${secret}`, {
      server: 's',
      cause: new Error(secret),
      data: { echo: secret },
    });
    const shown = redactor.value(error) as Record<string, unknown>;
    expect(shown).toMatchObject({
      name: 'TroupeError',
      code: 'internal',
      server: 's',
      data: { echo: REDACTED },
      cause: { message: REDACTED },
    });
    expect(JSON.stringify(shown)).not.toContain('s3cr3t');
  });

  it('become plain data', () => {
    expect(
      redactor.value({
        date: new Date(0),
        never: new Date(Number.NaN),
        map: new Map<unknown, unknown>([
          ['token', 'x'],
          [1, secret],
        ]),
        set: new Set([secret]),
        bytes: Buffer.from(secret),
        big: 10n,
        fn: () => secret,
        symbol: Symbol('x'),
        url: new URL(`https://h/?k=${encodeURIComponent(secret)}`),
        nothing: undefined,
        bad: {
          get boom() {
            throw new Error(secret);
          },
        },
      }),
    ).toEqual({
      date: '1970-01-01T00:00:00.000Z',
      never: null,
      map: { token: REDACTED, 1: REDACTED },
      set: [REDACTED],
      bytes: `[${Buffer.byteLength(secret)} bytes]`,
      big: '10',
      fn: '[function]',
      symbol: 'Symbol(x)',
      url: `https://h/?k=${REDACTED}`,
      bad: { boom: `[threw: ${REDACTED}]` },
    });
  });

  it('may go round in circles, be deep, or share parts without end', () => {
    const circle: Record<string, unknown> = { a: 1 };
    circle['self'] = circle;
    expect(redactor.value(circle)).toEqual({ a: 1, self: '[circular]' });
    let deep: unknown = secret;
    for (let i = 0; i < 10_000; i++) deep = { deep };
    expect(JSON.stringify(redactor.value(deep))).toContain('[too deep]');
    let lattice: unknown = [secret];
    for (let i = 0; i < 50; i++) lattice = [lattice, lattice];
    expect(Array.isArray(redactor.value(lattice))).toBe(true);
  });

  it('keep a key named __proto__ where it is, and harm no prototype', () => {
    const shown = redactor.value(JSON.parse('{"__proto__":{"polluted":true}}')) as object;
    expect(Object.keys(shown)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('stay as they are after a second pass', () => {
    const open = createRedactor(['aaaaaaaa', 'abababab']);
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 20 });
    const anything = fc.anything({
      key: fc.oneof(text, fc.constantFrom('token', 'password')),
      values: [text, fc.integer(), fc.boolean(), fc.constant(null)],
      withMap: true,
      withSet: true,
      withDate: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        const once = open.value(value);
        expect(open.value(once)).toEqual(once);
      }),
      { numRuns: 500 },
    );
  });
});
