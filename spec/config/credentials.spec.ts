import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const url = 'https://h';
const PEM = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';

describe('auth', () => {
  it('is handed on, in the words of other hosts too', () => {
    expect({ ...resolved({ url, auth: { token: 't' } }).auth }).toEqual({ token: 't' });
    expect({ ...resolved({ url, oauth: { clientId: 'c' } }).auth }).toEqual({ clientId: 'c' });
    const cursor = { CLIENT_ID: 'c', CLIENT_SECRET: 's', scopes: ['a'] };
    expect({ ...resolved({ url, auth: cursor }).auth }).toEqual({
      clientId: 'c',
      clientSecret: 's',
      scopes: ['a'],
    });
    expect(resolved({ url, auth: false }).auth).toBeUndefined();
  });

  it('has its variables expanded, at any depth', () => {
    const auth = resolved({ url, auth: { a: ['${MISSING:-x}'], b: { c: '${env:MISSING:-y}' } } }).auth;
    expect(JSON.stringify(auth)).toBe('{"a":["x"],"b":{"c":"y"}}');
  });

  it('keeps an object with behaviour as it is', () => {
    class Provider {
      readonly token = '${A}';
    }
    const provider = new Provider();
    expect(resolved({ url, auth: provider }).auth).toBe(provider);
  });

  it.each([
    [{ auth: 'x' }, 'auth', /string/],
    [{ auth: {}, oauth: {} }, 'oauth', /beside auth/],
    [{ auth: { CLIENT_ID: 'a', clientId: 'b' } }, 'auth.CLIENT_ID', /beside clientId/],
    [{ auth: { a: '${TROUPE_SPEC_MISSING}' } }, 'auth.a', /not set/],
  ])('refuses %j at %s', (options, field, problem) => {
    expect(serverRefusal({ url, ...options })).toEqual(invalidAt(field, problem));
  });

  it('refuses circles', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(serverRefusal({ url, auth: circle })).toEqual(
      invalidAt(`auth${'.self'.repeat(18)}`, /too deeply/),
    );
  });
});

describe('tls', () => {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-tls-'));
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, PEM);
  writeFileSync(join(folder, 'der'), '0\u0082');
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes text, bytes and files', () => {
    const tls = resolved({
      url,
      tls: { ca: [PEM, Buffer.from(PEM)], caFile, cert: PEM, key: PEM, passphrase: 'p', servername: 'n' },
    }).tls;
    expect(tls).toEqual({
      ca: [PEM, PEM, PEM],
      cert: PEM,
      key: PEM,
      passphrase: 'p',
      servername: 'n',
      rejectUnauthorized: true,
    });
    expect(resolved({ url, tls: { ca: PEM } }).tls?.ca).toEqual([PEM]);
    expect(resolved({ url }).tls).toBeUndefined();
  });

  it('trusts nobody without saying so', () => {
    expect(serverRefusal({ url, tls: { rejectUnauthorized: false } })).toEqual(
      invalidAt('tls.rejectUnauthorized', /allowInsecure/),
    );
    expect(
      resolved({ url, allowInsecure: true, tls: { rejectUnauthorized: false } }).tls?.rejectUnauthorized,
    ).toBe(false);
  });

  it.each([
    [{ ca: 'x' }, 'tls.ca', /no PEM/],
    [{ ca: [PEM, 'x'] }, 'tls.ca[1]', /no PEM/],
    [{ ca: 3 }, 'tls.ca', /is 3/],
    [{ caFile: '/nowhere.pem' }, 'tls.caFile', /does not exist/],
    [{ caFile: join(folder, 'der') }, 'tls.caFile', /no PEM/],
    [{ cert: PEM }, 'tls.key', /missing/],
    [{ key: PEM }, 'tls.cert', /missing/],
    [{ cert: PEM, certFile: caFile, key: PEM }, 'tls.certFile', /beside cert/],
    [{ rejectunauthorized: false }, 'tls.rejectunauthorized', /did you mean rejectUnauthorized/],
  ])('refuses %j at %s', (tls, field, problem) => {
    const error = serverRefusal({ url, tls });
    expect(error).toEqual(invalidAt(field, problem));
    expect(error.message).not.toContain('END CERTIFICATE');
  });
});
