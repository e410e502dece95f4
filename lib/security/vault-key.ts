import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { TroupeError, errorText } from '../core/errors.ts';

/** Where the operating system keeps a key for us; wrap the keyring library of your choice. */
export interface Keyring {
  read(account: string): string | undefined | Promise<string | undefined>;
  write(account: string, secret: string): void | Promise<void>;
}

/**
 * 32 bytes: as they are, or as text in hexadecimal (64 digits) or base64. `env` names an environment variable. With a
 * `keyring` a key is made at the first use and kept there.
 */
export type VaultKeySource =
  | Uint8Array
  | string
  | (() => Uint8Array | string | Promise<Uint8Array | string>)
  | { readonly env: string }
  | { readonly keyring: Keyring; readonly account?: string };

const KEY_BYTES = 32;
const ACCOUNT = 'mcp-troupe vault';
const HEX = /^[0-9a-f]{64}$/i;
const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/;

/** Fetches the key. Throws `config_invalid`; there is no weaker way to go on. */
export async function vaultKey(
  source: VaultKeySource,
  env: Readonly<Record<string, string | undefined>>,
): Promise<KeyObject> {
  if (typeof source === 'function')
    return keyOf(await fetched('the callback', async () => source()), 'the callback');
  if (typeof source === 'string' || source instanceof Uint8Array) return keyOf(source, 'vault.key');
  if ('env' in source) {
    const value = env[source.env];
    if (value === undefined || value === '')
      throw invalid(`the environment variable ${source.env} is not set`);
    return keyOf(value, `the environment variable ${source.env}`);
  }
  const { keyring, account = ACCOUNT } = source;
  const kept = await fetched('the keyring', async () => keyring.read(account));
  if (kept !== undefined) return keyOf(kept, 'the keyring');
  const made = randomBytes(KEY_BYTES).toString('base64');
  await fetched('the keyring', async () => keyring.write(account, made));
  // Asked again: two engines may have made one each, and the keyring keeps the last.
  return keyOf((await fetched('the keyring', async () => keyring.read(account))) ?? '', 'the keyring');
}

async function fetched<T>(from: string, fetch: () => Promise<T>): Promise<T> {
  try {
    return await fetch();
  } catch (error) {
    throw invalid(`${from} gave no key: ${errorText(error)}`, error);
  }
}

function keyOf(value: Uint8Array | string, from: string): KeyObject {
  const bytes = typeof value === 'string' ? decoded(value.trim()) : value;
  if (!(bytes instanceof Uint8Array) || bytes.byteLength !== KEY_BYTES) {
    throw invalid(`${from} gave no key of 32 bytes (raw, 64 hexadecimal digits or base64)`);
  }
  return createSecretKey(bytes);
}

function decoded(text: string): Uint8Array | undefined {
  if (HEX.test(text)) return Buffer.from(text, 'hex');
  return BASE64.test(text) ? Buffer.from(text, 'base64') : undefined;
}

function invalid(problem: string, cause?: unknown): TroupeError {
  return new TroupeError(
    'config_invalid',
    `vault.key: ${problem}; secrets are never kept without a key: give one by callback or environment`,
    {
      data: { field: 'vault.key', reason: 'no_key' },
      cause,
    },
  );
}

/** Tells a wrong key from a damaged entry, and says nothing about the key. */
export function checkOf(key: KeyObject): string {
  return createHmac('sha256', key).update('mcp-troupe vault check').digest('hex');
}

export function isCheckOf(check: string, key: KeyObject): boolean {
  const [given, own] = [Buffer.from(check, 'utf8'), Buffer.from(checkOf(key), 'utf8')];
  return given.length === own.length && timingSafeEqual(given, own);
}
