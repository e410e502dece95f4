import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MIN_SECRET_LENGTH, formsOf } from '../../lib/security/secret-forms.ts';

const secret = 'p@ss/w"rd+ü key';

describe('the forms of a secret', () => {
  it.each<[string, string]>([
    ['plain', secret],
    ['JSON', JSON.stringify({ secret })],
    ['JSON in JSON', JSON.stringify({ inner: JSON.stringify({ secret }) })],
    ['a query', `?key=${encodeURIComponent(secret)}`],
    ['a query in lower case', `?key=${encodeURIComponent(secret).replace(/%../g, (c) => c.toLowerCase())}`],
    ['a form', new URLSearchParams({ key: secret }).toString()],
    ['a path', encodeURI(`https://host/${secret}`)],
    ['base64', Buffer.from(secret).toString('base64')],
    ['base64url', Buffer.from(secret).toString('base64url')],
    ['Basic credentials', `Basic ${Buffer.from(`alice:${secret}`).toString('base64')}`],
  ])('occur in %s', (_what, text) => {
    expect([...formsOf(secret)].some((form) => text.includes(form))).toBe(true);
  });

  it('occur in the base64 of whatever is around it', () => {
    const around = fc.uint8Array({ maxLength: 7 });
    fc.assert(
      fc.property(
        around,
        around,
        fc.string({ minLength: 12, maxLength: 40, unit: 'binary' }),
        fc.constantFrom<BufferEncoding>('base64', 'base64url'),
        (before, after, middle, encoding) => {
          const text = Buffer.concat([before, Buffer.from(middle), after]).toString(encoding);
          expect([...formsOf(middle)].some((form) => text.includes(form))).toBe(true);
        },
      ),
    );
  });

  it('are never so short that they would blank ordinary words', () => {
    fc.assert(
      fc.property(fc.string({ minLength: MIN_SECRET_LENGTH, maxLength: 24, unit: 'binary' }), (text) => {
        expect([...formsOf(text)].every((form) => form.length >= MIN_SECRET_LENGTH)).toBe(true);
      }),
    );
  });

  it('can be made of half a character', () => {
    expect(formsOf('abcdefgh\ud800').has('abcdefgh\ud800')).toBe(true);
  });
});
