import { readFileSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { TroupeError } from '../../lib/core/errors.ts';
import { verifyAudit } from '../../lib/security/audit-verify.ts';
import { createAuditTrail } from '../../lib/security/audit.ts';
import type { AuditOptions, AuditTrail } from '../../lib/security/audit.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const key = 'a key of sixteen bytes or more';
const directory = temporaryDirectories();
const recordsOf = (path: string): Array<Record<string, unknown>> =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

function opened(
  more: Partial<AuditOptions> = {},
  path = join(directory(), 'audit.jsonl'),
): { trail: AuditTrail; path: string } {
  return { trail: createAuditTrail({ path, key, clock: { wallTime: () => 1_000 }, ...more }), path };
}

/** A disk with so many bytes left; a write that does not fit is cut short, the next one fails. */
function quota(bytes: number): { write: NonNullable<AuditOptions['write']>; free: (more: number) => void } {
  let left = bytes;
  return {
    free: (more) => {
      left += more;
    },
    write(fd, data, offset, length) {
      const fits = Math.min(length, left);
      if (fits === 0)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      left -= fits;
      return writeSync(fd, data, offset, fits);
    },
  };
}

describe('the trail', () => {
  it('begins with its opening and chains every record to the one before', async () => {
    const { trail, path } = opened();
    const head = trail.append('intent', { method: 'tools/call', target: 'echo' });
    trail.close();
    const [first, second] = recordsOf(path);
    expect(first).toMatchObject({
      seq: 1,
      at: 1_000,
      kind: 'event',
      event: 'audit.opened',
      pid: process.pid,
      prev: '0'.repeat(64),
    });
    expect(second).toMatchObject({
      seq: 2,
      kind: 'intent',
      method: 'tools/call',
      target: 'echo',
      prev: first?.['mac'],
      mac: head?.mac,
    });
    expect(head).toEqual(trail.head);
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true, records: 2, head, tornBytes: 0 });
  });

  it('goes on where it ended', async () => {
    const { trail, path } = opened();
    trail.append('event', { event: 'x' });
    trail.close();
    const again = opened({}, path).trail;
    again.append('event', { event: 'y' });
    again.close();
    expect(recordsOf(path).map(({ event }) => event)).toEqual(['audit.opened', 'x', 'audit.opened', 'y']);
    expect(await verifyAudit(path, { key, head: again.head })).toMatchObject({ ok: true, records: 4 });
  });

  it('keeps to one line, and to its own fields', () => {
    const { trail, path } = opened();
    trail.append('event', {
      event: 'line\nbreak\u2028 "quoted"',
      seq: 99,
      mac: 'x',
      prev: 'y',
      kind: 'z',
      at: 0,
    });
    trail.close();
    expect(readFileSync(path, 'utf8').trimEnd().split('\n').length).toBe(2);
    expect(recordsOf(path)[1]).toMatchObject({
      seq: 2,
      kind: 'event',
      at: 1_000,
      event: 'line\nbreak\u2028 "quoted"',
    });
  });

  it('replaces what is too long by its length', async () => {
    const { trail, path } = opened();
    trail.append('event', { event: 'x'.repeat(100_000) });
    trail.close();
    expect(recordsOf(path)[1]).toMatchObject({ omitted: '100010 characters' });
    opened({}, path).trail.close();
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true });
  });

  it('redacts before it writes', () => {
    const { trail, path } = opened({ redact: (fields) => ({ ...fields, target: '[redacted]' }) });
    trail.append('intent', { target: 'x://host?token=hunter2hunter2' });
    trail.close();
    expect(readFileSync(path, 'utf8')).not.toContain('hunter2');
  });

  it('gives every new head away, and counts one that could not be kept as not written', () => {
    const heads: number[] = [];
    let broken = false;
    const { trail, path } = opened({
      onHead: ({ seq }) => {
        if (broken) throw new Error('anchor unreachable');
        heads.push(seq);
      },
    });
    trail.append('event', { event: 'a' });
    broken = true;
    expect(() => trail.append('event', { event: 'b' })).toThrow('anchor unreachable');
    broken = false;
    trail.append('event', { event: 'c' });
    trail.close();
    expect(recordsOf(path).map(({ event }) => event)).toEqual(['audit.opened', 'a', 'audit.gap', 'c']);
    expect(heads).toEqual([1, 2, 3, 4]);
  });

  it('makes digests that only its key can make', () => {
    const { trail } = opened();
    const { trail: other } = opened({ key: 'another key of sixteen bytes' });
    expect(trail.digest({ a: 1 })).toEqual(trail.digest({ a: 1 }));
    expect(trail.digest({ a: 1 }).hmac).not.toBe(other.digest({ a: 1 }).hmac);
    trail.close();
    other.close();
  });

  it('can write through to the disk', () => {
    const { trail, path } = opened({ sync: 'data' });
    trail.append('event', { event: 'x' });
    trail.close();
    expect(recordsOf(path).length).toBe(2);
  });
});

describe('a crash', () => {
  it.each([
    ['half a record', '{"seq":3,"at":1,"ki'],
    ['a record without its newline', '{"seq":3,"at":1,"kind":"event","prev":"x","mac":"y"}'],
    ['zeros', '\0'.repeat(300)],
  ])('leaves %s, which is cut off and put on record', async (_what, torn) => {
    const { trail, path } = opened();
    trail.append('event', { event: 'whole' });
    trail.close();
    writeFileSync(path, torn, { flag: 'a' });
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true, records: 2, tornBytes: torn.length });
    opened({}, path).trail.close();
    expect(recordsOf(path).map(({ event }) => event)).toEqual([
      'audit.opened',
      'whole',
      'audit.repaired',
      'audit.opened',
    ]);
    expect(recordsOf(path)[2]).toMatchObject({
      bytes: torn.length,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true, records: 4, tornBytes: 0 });
  });

  it('in the very first record is repaired too', () => {
    const path = join(directory(), 'audit.jsonl');
    writeFileSync(path, '{"seq":1,');
    opened({}, path).trail.close();
    expect(recordsOf(path).map(({ event }) => event)).toEqual(['audit.repaired', 'audit.opened']);
  });
});

describe('a full disk', () => {
  it('refuses what cannot be recorded, and leaves no part of a record behind', async () => {
    const disk = quota(1_000);
    const errors: TroupeError[] = [];
    const { trail, path } = opened({ write: disk.write, onError: (error) => errors.push(error) });
    let written = 1;
    const fill = (): void => {
      for (; written < 100; written++) trail.append('intent', { filler: 'x'.repeat(200) });
    };
    expect(fill).toThrow('[denied] the audit trail cannot be written: ENOSPC');
    expect(() => trail.append('intent', {})).toThrow(
      expect.objectContaining({ code: 'denied', data: { reason: 'audit_failed' } }),
    );
    expect(recordsOf(path).length).toBe(written);
    expect(trail.lost).toBe(2);
    expect(errors.length).toBe(2);
    disk.free(10_000);
    trail.append('intent', { method: 'x' });
    expect(trail.lost).toBe(0);
    trail.close();
    expect(recordsOf(path).slice(-2)).toMatchObject([
      { event: 'audit.gap', lost: 2 },
      { kind: 'intent', method: 'x' },
    ]);
    expect(await verifyAudit(path, { key, head: trail.head })).toMatchObject({ ok: true });
  });

  it('goes on without a record where that was chosen', () => {
    const disk = quota(400);
    const { trail } = opened({
      write: disk.write,
      onFailure: 'continue',
      onError: () => {
        throw new Error('listener');
      },
    });
    for (let i = 0; i < 5; i++) trail.append('intent', { filler: 'x'.repeat(300) });
    expect(trail.append('intent', {})).toBeUndefined();
    expect(trail.lost).toBe(6);
    trail.close();
  });

  it('keeps a trail that refuses from opening', () => {
    const path = join(directory(), 'audit.jsonl');
    expect(() => opened({ write: quota(0).write }, path)).toThrow(
      '[config_invalid] audit.file: the audit trail cannot be written: ENOSPC',
    );
    opened({}, path).trail.close();
  });

  it('is no different from a file that was closed behind our back', () => {
    let closed = false;
    const { trail } = opened({
      write(fd, data, offset, length) {
        if (closed) throw new Error('EBADF: bad file descriptor, write');
        return writeSync(fd, data, offset, length);
      },
    });
    closed = true;
    expect(() => trail.append('intent', {})).toThrow('EBADF');
    trail.close();
  });

  it('is no different from a trail that is closed', () => {
    const { trail } = opened();
    trail.close();
    trail.close();
    expect(() => trail.append('intent', {})).toThrow('the trail is closed');
  });
});

const onLinux = process.platform === 'linux' ? describe : describe.skip;
onLinux('a disk that the system says is full', () => {
  it('is noticed at the first record', () => {
    const path = join(directory(), 'audit.jsonl');
    symlinkSync('/dev/full', path);
    expect(() => opened({}, path)).toThrow('ENOSPC');
    const { trail } = opened({ onFailure: 'continue' }, path);
    expect(trail.append('intent', {})).toBeUndefined();
    expect(trail.lost).toBe(2);
    trail.close();
  });
});

describe('what cannot be opened', () => {
  it('is a file that another engine has', () => {
    const { trail, path } = opened();
    expect(() => opened({}, path)).toThrow(
      expect.objectContaining({ code: 'config_invalid', data: { reason: 'locked', pid: process.pid } }),
    );
    expect(trail.append('event', {})).toBeDefined();
    trail.close();
    opened({}, path).trail.close();
  });

  it.each([
    [
      'a trail with another key',
      (path: string) => opened({ key: 'another key of sixteen bytes' }, path).trail.close(),
    ],
    ['a trail without a key', (path: string) => opened({ key: undefined as never }, path).trail.close()],
    ['a file that is no trail', (path: string) => writeFileSync(path, 'hello\nworld\n')],
    ['a long file without a line', (path: string) => writeFileSync(path, 'x'.repeat(300_000))],
  ])('is %s, and it is not touched', (_what, prepare) => {
    const path = join(directory(), 'audit.jsonl');
    prepare(path);
    const before = readFileSync(path);
    expect(() => opened({}, path)).toThrow('[config_invalid] audit.file: the last record of');
    expect(readFileSync(path)).toEqual(before);
    expect(() => opened({}, path)).toThrow('the last record of');
  });

  it('is a path without a directory', () => {
    expect(() => opened({}, join(directory(), 'no', 'audit.jsonl'))).toThrow('[config_invalid]');
  });

  it('is a directory', () => {
    expect(() => opened({}, directory())).toThrow('[config_invalid] audit.file: cannot open');
  });

  it.each(['short', '', new Uint8Array(15)])('is a trail with too short a key: %p', (short) => {
    expect(() => opened({ key: short })).toThrow('[config_invalid] audit.key: must have at least 16 bytes');
    expect(() => opened({ key: () => short })).toThrow('[config_invalid] audit.key');
  });
});
