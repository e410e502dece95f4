import { describe, expect, it } from '@jest/globals';
import { checkedCertificates } from '../../lib/config/certificates.ts';
import type { At } from '../../lib/config/fields.ts';
import { OBJECT_ORIGIN } from '../../lib/config/fields.ts';
import { CA_CERT, CLIENT_KEY, SERVER_CERT } from '../support/http-certificates.ts';

const AT: At = { origin: OBJECT_ORIGIN, server: 's', base: [], path: ['tls', 'ca'] };
const check = (text: string): string => checkedCertificates(text, AT);

describe('a bundle of authorities', () => {
  it.each([
    ['one', CA_CERT],
    ['several', CA_CERT + SERVER_CERT],
    ['lines that end as on Windows', (CA_CERT + SERVER_CERT).replaceAll('\n', '\r\n')],
    ['no line break at the end', CA_CERT.trimEnd()],
    ['another label of the same', CA_CERT.replaceAll(' CERTIFICATE', ' TRUSTED CERTIFICATE')],
    ['texts between them', `${CA_CERT}# BEGIN CERTIFICATE of the other\nSubject: x\n${SERVER_CERT}`],
    ['a key between them', `${CA_CERT}${CLIENT_KEY}${SERVER_CERT}`],
  ])('with %s is taken as it is', (_what, text) => {
    expect(check(text)).toBe(text);
  });

  it.each([
    ['labels that differ', CA_CERT.replace('END CERTIFICATE', 'END X509 CERTIFICATE'), '1 of 1 has no end'],
    ['an end of its own', `${CA_CERT}-----END CERTIFICATE-----\n`, '2 of 2 has no beginning'],
    ['a beginning of its own', `-----BEGIN CERTIFICATE-----\n${CA_CERT}`, '1 of 2 has no end'],
    [
      'dashes that are missing',
      CA_CERT.replace('CERTIFICATE-----', 'CERTIFICATE----'),
      '1 of 1 has no beginning',
    ],
    ['bytes that are missing', CA_CERT + SERVER_CERT.replace(/\n[^\n]{64}\n/, '\n'), '2 of 2 is damaged'],
    ['what is no base64', CA_CERT.replace('MII', '!!!'), '1 of 1 is damaged'],
  ])('with %s is refused', (_what, text, problem) => {
    expect(() => check(text)).toThrow(`certificate ${problem}`);
  });
});
