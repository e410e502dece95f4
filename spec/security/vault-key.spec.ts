import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { checkOf, isCheckOf, vaultKey } from '../../lib/security/vault-key.ts';
import type { Keyring, VaultKeySource } from '../../lib/security/vault-key.ts';

const raw = randomBytes(32);
const hexOf = async (source: VaultKeySource, env = {}): Promise<string> =>
  (await vaultKey(source, env)).export().toString('hex');

describe('the key of the vault', () => {
  it.each<[string, VaultKeySource]>([
    ['bytes', raw],
    ['hexadecimal', raw.toString('hex')],
    ['base64', raw.toString('base64')],
    ['base64url', raw.toString('base64url')],
    ['a callback', () => raw],
    ['a callback that takes its time', () => Promise.resolve(`${raw.toString('hex')}\n`)],
    ['the environment', { env: 'VAULT_KEY' }],
  ])('comes as %s', async (_what, source) => {
    expect(await hexOf(source, { VAULT_KEY: raw.toString('base64') })).toBe(raw.toString('hex'));
  });

  it('is made once and kept in a keyring', async () => {
    const kept = new Map<string, string>();
    const keyring: Keyring = {
      read: (account) => kept.get(account),
      write: (account, secret) => void kept.set(account, secret),
    };
    const first = await hexOf({ keyring });
    expect(await hexOf({ keyring })).toBe(first);
    expect(await hexOf({ keyring, account: 'other' })).not.toBe(first);
    expect([...kept.keys()]).toEqual(['mcp-troupe vault', 'other']);
  });

  const failing = async (): Promise<never> => {
    throw new Error("Couldn't access platform storage");
  };
  it.each<[string, VaultKeySource, string]>([
    ['no key', '', 'vault.key gave no key of 32 bytes'],
    ['a passphrase', 'correct horse battery staple', 'vault.key gave no key of 32 bytes'],
    ['too few bytes', randomBytes(16), 'vault.key gave no key of 32 bytes'],
    [
      'a callback that fails',
      () => Promise.reject(new Error('KMS down')),
      'the callback gave no key: KMS down',
    ],
    ['a callback that gives nothing', () => undefined as never, 'the callback gave no key of 32 bytes'],
    ['a variable that is not set', { env: 'NONE' }, 'the environment variable NONE is not set'],
    [
      'a keyring that cannot be reached',
      { keyring: { read: failing, write: failing } },
      "the keyring gave no key: Couldn't access platform storage",
    ],
    [
      'a keyring that does not keep',
      { keyring: { read: () => undefined, write: () => {} } },
      'the keyring gave no key of 32 bytes',
    ],
  ])('is not %s, and there is no weaker way', async (_what, source, problem) => {
    await expect(vaultKey(source, {})).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining(problem),
      detail: expect.stringContaining('secrets are never kept without a key'),
      data: { field: 'vault.key', reason: 'no_key' },
    });
  });

  it('is never shown by an error', async () => {
    const wrong = 'a-key-that-is-none-but-secret';
    const error: unknown = await vaultKey(wrong, {}).catch((thrown: unknown) => thrown);
    expect(JSON.stringify(error)).not.toContain(wrong);
  });

  it('is known by its check', async () => {
    const [key, other] = [await vaultKey(raw, {}), await vaultKey(randomBytes(32), {})];
    expect(isCheckOf(checkOf(key), key)).toBe(true);
    expect(isCheckOf(checkOf(key), other)).toBe(false);
    expect(isCheckOf('', key)).toBe(false);
  });
});
