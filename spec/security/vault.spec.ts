import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { acquireFileLock } from '../../lib/security/file-lock.ts';
import { createVault } from '../../lib/security/vault.ts';
import type { Vault, VaultOptions } from '../../lib/security/vault.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const directory = temporaryDirectories();
const key = randomBytes(32);
const open = (path: string, more: Partial<VaultOptions> = {}): Vault => createVault({ path, key, ...more });
const fresh = (): string => join(directory(), 'vault.json');

interface Stored {
  entries: Array<Record<'server' | 'field' | 'nonce' | 'data' | 'tag', string>>;
}
function tamper(path: string, change: (stored: Stored) => void): void {
  const stored = JSON.parse(readFileSync(path, 'utf8')) as Stored;
  change(stored);
  writeFileSync(path, JSON.stringify(stored));
}

describe('the vault', () => {
  it('gives back what was put in, also to another engine', async () => {
    const path = fresh();
    const vault = open(path);
    expect(await vault.get('github', 'refresh_token')).toBeUndefined();
    await vault.set('github', 'refresh_token', 'hunter2hunter2 ü');
    await vault.set('github', 'client_secret', '');
    await vault.set('docs', 'refresh_token', 'other');
    expect(await open(path).get('github', 'refresh_token')).toBe('hunter2hunter2 ü');
    expect(await vault.get('github', 'client_secret')).toBe('');
    expect(await vault.fields('github')).toEqual(['refresh_token', 'client_secret']);
    await vault.set('github', 'refresh_token', 'new');
    expect(await vault.get('github', 'refresh_token')).toBe('new');
    await vault.delete('github', 'refresh_token');
    expect(await vault.fields('github')).toEqual(['client_secret']);
    await vault.delete('github');
    expect(await vault.fields('github')).toEqual([]);
    expect(await vault.get('docs', 'refresh_token')).toBe('other');
  });

  it('never shows a secret or the key, on disk or in memory', async () => {
    const path = fresh();
    const vault = open(path);
    await vault.set('s', 'f', 'hunter2hunter2');
    const shown = `${readFileSync(path, 'utf8')}${inspect(vault, { depth: 9, showHidden: true })}${JSON.stringify(vault)}`;
    for (const encoding of ['utf8', 'base64', 'hex'] as const) {
      expect(shown).not.toContain(Buffer.from('hunter2hunter2').toString(encoding));
    }
    expect(shown).not.toContain(key.toString('base64'));
    expect(shown).not.toContain(key.toString('hex'));
    expect(readdirSync(dirname(path))).toEqual(['vault.json']);
  });

  it('is for its owner only, and never uses a nonce twice', async () => {
    const path = fresh();
    const vault = open(path);
    const nonces = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await vault.set('s', 'f', 'the same secret');
      nonces.add((JSON.parse(readFileSync(path, 'utf8')) as Stored).entries[0]!.nonce);
    }
    expect(nonces.size).toBe(20);
    expect(Buffer.from([...nonces][0]!, 'base64').length).toBe(12);
    expect(process.platform === 'win32' ? 0 : statSync(path).mode & 0o077).toBe(0);
  });

  it('loses nothing when several write at once', async () => {
    const path = fresh();
    const vaults = [open(path), open(path), open(path)];
    await Promise.all(
      vaults.flatMap((vault, v) => [1, 2, 3].map((i) => vault.set(`s${v}`, `f${i}`, `${v}${i}`))),
    );
    for (let v = 0; v < 3; v++)
      expect((await vaults[0]!.fields(`s${v}`)).toSorted()).toEqual(['f1', 'f2', 'f3']);
  });

  it('takes names as they are', async () => {
    const path = fresh();
    const vault = open(path);
    await vault.set('a|b', 'c', '1');
    await vault.set('a', 'b|c', '2');
    await vault.set('__proto__', 'constructor', '3');
    expect([
      await vault.get('a|b', 'c'),
      await vault.get('a', 'b|c'),
      await vault.get('__proto__', 'constructor'),
    ]).toEqual(['1', '2', '3']);
  });
});

describe('a vault that is not as it was', () => {
  it.each<[string, (stored: Stored) => void]>([
    ['another text', ({ entries }) => void (entries[0]!.data = entries[1]!.data)],
    [
      'one bit of the text',
      ({ entries }) => {
        const data = Buffer.from(entries[0]!.data, 'base64');
        data[0]! ^= 1;
        entries[0]!.data = data.toString('base64');
      },
    ],
    ['another nonce', ({ entries }) => void (entries[0]!.nonce = randomBytes(12).toString('base64'))],
    ['a short tag', ({ entries }) => void (entries[0]!.tag = entries[0]!.tag.slice(0, 6))],
    [
      'an entry moved to another server',
      ({ entries }) => {
        [entries[0]!.data, entries[1]!.data] = [entries[1]!.data, entries[0]!.data];
        [entries[0]!.nonce, entries[1]!.nonce] = [entries[1]!.nonce, entries[0]!.nonce];
        [entries[0]!.tag, entries[1]!.tag] = [entries[1]!.tag, entries[0]!.tag];
      },
    ],
  ])('does not open with %s', async (_what, change) => {
    const path = fresh();
    const vault = open(path);
    await vault.set('a', 'f', 'one');
    await vault.set('b', 'f', 'two');
    tamper(path, change);
    await expect(vault.get('a', 'f')).rejects.toMatchObject({
      code: 'config_invalid',
      server: 'a',
      data: { reason: 'damaged' },
    });
    await vault.set('a', 'f', 'again');
    expect(await vault.get('a', 'f')).toBe('again');
  });

  it('does not open, and is not written, with another key', async () => {
    const path = fresh();
    await open(path).set('a', 'f', 'one');
    const before = readFileSync(path, 'utf8');
    const other = open(path, { key: randomBytes(32) });
    const refused = { code: 'config_invalid', data: { reason: 'wrong_key' } };
    await expect(other.get('a', 'f')).rejects.toMatchObject(refused);
    await expect(other.set('a', 'f', 'two')).rejects.toMatchObject(refused);
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it.each([
    '',
    '{',
    '[]',
    '{"version":2}',
    '{"version":1,"check":"x","entries":{}}',
    '{"version":1,"check":"x","entries":[{}]}',
  ])('is not overwritten when it is %p', async (text) => {
    const path = fresh();
    writeFileSync(path, text);
    const refused = { code: 'config_invalid', data: { reason: 'damaged' } };
    await expect(open(path).get('a', 'f')).rejects.toMatchObject(refused);
    await expect(open(path).set('a', 'f', 'x')).rejects.toMatchObject(refused);
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});

describe('a vault that cannot work', () => {
  it('writes nothing without a key, and asks for it again the next time', async () => {
    const path = fresh();
    let ready = false;
    const vault = open(path, {
      key: () => {
        if (!ready) throw new Error('KMS down');
        return key;
      },
    });
    await expect(vault.set('a', 'f', 'hunter2hunter2')).rejects.toMatchObject({ data: { reason: 'no_key' } });
    await expect(vault.get('a', 'f')).rejects.toMatchObject({ data: { reason: 'no_key' } });
    expect(readdirSync(dirname(path))).toEqual([]);
    ready = true;
    await vault.set('a', 'f', 'x');
    expect(await vault.get('a', 'f')).toBe('x');
  });

  it('waits two seconds for another writer, no longer, and goes on afterwards', async () => {
    const path = fresh();
    const clock = createVirtualClock();
    const vault = open(path, { clock });
    const lock = acquireFileLock(`${path}.lock`);
    const start = clock.now();
    await expect(clock.settle(vault.set('a', 'f', 'x'))).rejects.toMatchObject({
      code: 'config_invalid',
      data: { reason: 'locked' },
    });
    expect(clock.now() - start).toBe(2000);
    expect(clock.armed).toBe(0);
    lock.release();
    await vault.set('a', 'f', 'x');
    expect(await vault.get('a', 'f')).toBe('x');
  });

  it('says so where it cannot write', async () => {
    await expect(open(join(directory(), 'none', 'vault.json')).set('a', 'f', 'x')).rejects.toMatchObject({
      code: 'config_invalid',
    });
  });
});
