import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { acquireFileLock } from '../../lib/security/file-lock.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const directory = temporaryDirectories();

/** A process that has lived and is no more. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'close');
  return child.pid!;
}

describe('a lock file', () => {
  it('is held once, and free again after its release', () => {
    const path = join(directory(), 'x.lock');
    const lock = acquireFileLock(path);
    expect(() => acquireFileLock(path)).toThrow(`[config_invalid] "${path}" is held by this process`);
    lock.release();
    lock.release();
    expect(existsSync(path)).toBe(false);
    acquireFileLock(path).release();
  });

  it('of another living process is respected', () => {
    const path = join(directory(), 'x.lock');
    writeFileSync(path, JSON.stringify({ pid: process.ppid, start: null, token: 'other' }));
    expect(() => acquireFileLock(path)).toThrow(`is held by process ${process.ppid}`);
  });

  it('of a process that is gone is taken over, and nothing is left beside it', async () => {
    const folder = directory();
    const path = join(folder, 'x.lock');
    writeFileSync(path, JSON.stringify({ pid: await deadPid(), start: null, token: 'old' }));
    const lock = acquireFileLock(path);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
    expect(readdirSync(folder)).toEqual(['x.lock']);
    lock.release();
  });

  const onLinux = process.platform === 'linux' ? it : it.skip;
  onLinux('of an earlier process with the pid of a living one is taken over', () => {
    const path = join(directory(), 'x.lock');
    writeFileSync(path, JSON.stringify({ pid: process.pid, start: 'an-earlier-boot:1', token: 'old' }));
    acquireFileLock(path).release();
  });

  it('is taken over even when a former attempt crashed half way', async () => {
    const folder = directory();
    const path = join(folder, 'x.lock');
    const pid = await deadPid();
    writeFileSync(path, JSON.stringify({ pid, start: null, token: 'old' }));
    writeFileSync(`${path}.old`, JSON.stringify({ pid, start: null, token: 'claim' }));
    acquireFileLock(path).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('waits for one who is just taking it over', async () => {
    const path = join(directory(), 'x.lock');
    writeFileSync(path, JSON.stringify({ pid: await deadPid(), start: null, token: 'old' }));
    writeFileSync(`${path}.old`, JSON.stringify({ pid: process.ppid, start: null, token: 'claim' }));
    expect(() => acquireFileLock(path)).toThrow(`is held by process ${process.ppid}`);
  });

  it("that has become somebody else's is not removed", () => {
    const path = join(directory(), 'x.lock');
    const lock = acquireFileLock(path);
    writeFileSync(path, 'theirs');
    lock.release();
    expect(readFileSync(path, 'utf8')).toBe('theirs');
  });

  it.each(['', '{}', '[]', '{"pid":"1","token":"x"}', '{"pid":1,"token":"../x"}'])(
    'that is none of ours is left alone: %p',
    (text) => {
      const path = join(directory(), 'x.lock');
      writeFileSync(path, text);
      expect(() => acquireFileLock(path)).toThrow('is not a lock of ours; remove it');
      expect(readFileSync(path, 'utf8')).toBe(text);
    },
  );

  it('cannot be put where there is no directory', () => {
    expect(() => acquireFileLock(join(directory(), 'none', 'x.lock'))).toThrow(
      '[config_invalid] cannot lock',
    );
  });
});
