import { chmodSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readIfThere, replaceFile } from '../../lib/security/atomic-file.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const directory = temporaryDirectories();

describe('a file that is replaced whole', () => {
  it('holds the new text, is for its owner only, and leaves nothing beside it', () => {
    const folder = directory();
    const path = join(folder, 'x');
    expect(readIfThere(path)).toBeUndefined();
    writeFileSync(path, 'old');
    chmodSync(path, 0o644);
    replaceFile(path, 'new');
    expect(readIfThere(path)).toBe('new');
    expect(readdirSync(folder)).toEqual(['x']);
    expect(process.platform === 'win32' ? 0 : statSync(path).mode & 0o077).toBe(0);
  });

  it('stays what it was when that fails, with nothing beside it', () => {
    const folder = directory();
    const path = join(folder, 'taken');
    mkdirSync(path);
    writeFileSync(join(path, 'inside'), 'kept');
    expect(() => replaceFile(path, 'new')).toThrow(/EISDIR|ENOTEMPTY|EEXIST|EPERM/);
    expect(readdirSync(folder)).toEqual(['taken']);
    expect(readFileSync(join(path, 'inside'), 'utf8')).toBe('kept');
    expect(() => readIfThere(path)).toThrow('EISDIR');
  });
});
