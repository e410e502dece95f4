import { createHmac, createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { TroupeError } from '../core/errors.ts';

/** A secret key, or a function that fetches it; at least 16 bytes. Text counts as UTF-8. */
export type KeySource = Uint8Array | string | (() => Uint8Array | string);

const MIN_KEY_BYTES = 16;

/** A key for one purpose, so that what is published of one says nothing about another. `field` is for the error. */
export function subkey(key: KeySource, purpose: string, field: string): KeyObject {
  const given = typeof key === 'function' ? key() : key;
  const bytes = typeof given === 'string' ? Buffer.from(given, 'utf8') : given;
  if (!(bytes instanceof Uint8Array) || bytes.byteLength < MIN_KEY_BYTES) {
    throw new TroupeError('config_invalid', `${field}: must have at least ${MIN_KEY_BYTES} bytes`, {
      data: { field },
    });
  }
  return createSecretKey(createHmac('sha256', bytes).update(`mcp-troupe ${purpose}`).digest());
}
