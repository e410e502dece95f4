import { createHash, createPublicKey, sign, verify, type JsonWebKey, type KeyObject } from 'node:crypto';

export interface Jwt {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
const ES256 = { dsaEncoding: 'ieee-p1363' } as const;

/** ES256, as an identity provider or a client would make it; not with the library that the SDK uses. */
export function signJwt(claims: object, key: KeyObject, header: object = {}): string {
  const text = `${encoded({ alg: 'ES256', ...header })}.${encoded(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, ...ES256 }).toString('base64url')}`;
}

/** The parts of a token whose ES256 signature is of this key, or of the one in its own header; throws `signature`. */
export function verifiedJwt(token: string, key: KeyObject | 'its own'): Jwt {
  const [head = '', body = '', signature = ''] = token.split('.');
  const read = (part: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
  const header = read(head);
  const by = key === 'its own' ? createPublicKey({ key: header['jwk'] as JsonWebKey, format: 'jwk' }) : key;
  const text = Buffer.from(`${head}.${body}`);
  const good =
    header['alg'] === 'ES256' &&
    verify('sha256', text, { key: by, ...ES256 }, Buffer.from(signature, 'base64url'));
  if (!good) throw new Error('signature');
  return { header, claims: read(body) };
}

/** RFC 7638, of a P-256 key. */
export function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}
