import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { CA_CERT } from '../support/http-certificates.ts';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const url = 'https://h';
const PEM = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';

describe('tls', () => {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-tls-'));
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, CA_CERT);
  writeFileSync(join(folder, 'damaged.pem'), `# ours\n${CA_CERT}${PEM}${CA_CERT}`);
  writeFileSync(join(folder, 'der'), '0\u0082');
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes text, bytes and files', () => {
    const tls = resolved({
      url,
      tls: {
        ca: [CA_CERT, Buffer.from(CA_CERT)],
        caFile,
        cert: CA_CERT,
        key: PEM,
        passphrase: 'p',
        servername: 'n',
      },
    }).tls;
    expect(tls).toEqual({
      ca: [CA_CERT, CA_CERT, CA_CERT],
      cert: CA_CERT,
      key: PEM,
      passphrase: 'p',
      servername: 'n',
      rejectUnauthorized: true,
    });
    expect(resolved({ url, tls: { ca: CA_CERT } }).tls?.ca).toEqual([CA_CERT]);
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
    [{ ca: [CA_CERT, 'x'] }, 'tls.ca[1]', /no PEM/],
    [{ ca: PEM }, 'tls.ca', /certificate 1 of 1 is damaged/],
    [{ ca: [CA_CERT, Buffer.from(CA_CERT + PEM)] }, 'tls.ca[1]', /certificate 2 of 2 is damaged/],
    [{ caFile: join(folder, 'damaged.pem') }, 'tls.caFile', /certificate 2 of 3 is damaged/],
    [{ ca: 3 }, 'tls.ca', /is 3/],
    [{ caFile: '/nowhere.pem' }, 'tls.caFile', /does not exist/],
    [{ caFile: join(folder, 'der') }, 'tls.caFile', /no PEM/],
    [{ cert: PEM }, 'tls.key', /missing/],
    [{ key: PEM }, 'tls.cert', /missing/],
    [{ cert: PEM, certFile: caFile, key: PEM }, 'tls.certFile', /beside cert/],
    [{ cert: PEM, key: PEM }, 'tls.cert', /certificate 1 of 1 is damaged/],
    [{ certFile: join(folder, 'damaged.pem'), key: PEM }, 'tls.certFile', /certificate 2 of 3 is damaged/],
    [{ rejectunauthorized: false }, 'tls.rejectunauthorized', /did you mean rejectUnauthorized/],
  ])('refuses %j at %s', (tls, field, problem) => {
    const error = serverRefusal({ url, tls });
    expect(error).toEqual(invalidAt(field, problem));
    expect(error.message).not.toContain('END CERTIFICATE');
  });
});
