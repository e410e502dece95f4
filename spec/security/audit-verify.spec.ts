import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { verifyAudit } from '../../lib/security/audit-verify.ts';
import type { AuditVerdict } from '../../lib/security/audit-verify.ts';
import { createAuditTrail } from '../../lib/security/audit.ts';
import type { AuditHead } from '../../lib/security/audit-record.ts';
import type { KeySource } from '../../lib/security/keys.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const key = 'a key of sixteen bytes or more';
const directory = temporaryDirectories();

/** A trail of six records: its lines, and the heads on the way. */
function written(more: { key?: KeySource } = { key }): { path: string; lines: string[]; heads: AuditHead[] } {
  const path = join(directory(), 'audit.jsonl');
  const heads: AuditHead[] = [];
  const trail = createAuditTrail({ path, ...more, onHead: (head) => heads.push(head) });
  for (let i = 2; i <= 6; i++) trail.append('intent', { target: `tool ${i}`, amount: i });
  trail.close();
  return { path, lines: readFileSync(path, 'utf8').trimEnd().split('\n'), heads };
}

async function afterwards(change: (lines: string[]) => string[]): Promise<AuditVerdict> {
  const { path, lines } = written();
  writeFileSync(path, `${change([...lines]).join('\n')}\n`);
  return verifyAudit(path, { key });
}

describe('a trail that nobody touched', () => {
  it('is good, with and without a key, and with every head on the way', async () => {
    const keyed = written();
    expect(await verifyAudit(keyed.path, { key, head: keyed.heads })).toEqual({
      ok: true,
      records: 6,
      head: keyed.heads[5],
      tornBytes: 0,
    });
    const plain = written({});
    expect(await verifyAudit(plain.path, { head: plain.heads[3]! })).toMatchObject({ ok: true, records: 6 });
  });

  it('may be empty', async () => {
    const path = join(directory(), 'audit.jsonl');
    writeFileSync(path, '');
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true, records: 0, head: { seq: 0 } });
  });

  it('must be there', async () => {
    await expect(verifyAudit(join(directory(), 'none'), { key })).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});

describe('each way to change a trail is found, at the first bad record', () => {
  it.each<[string, (lines: string[]) => string[], object]>([
    [
      'an edit',
      (l) => l.with(2, l[2]!.replace('"amount":3', '"amount":4')),
      { problem: 'edited', line: 3, seq: 3, records: 2 },
    ],
    [
      'an edit of white space',
      (l) => l.with(2, l[2]!.replace(',', ', ')),
      { problem: 'edited', line: 3, seq: 3 },
    ],
    [
      'an edit of the last record',
      (l) => l.with(5, l[5]!.replace('tool 6', 'tool 7')),
      { problem: 'edited', line: 6, seq: 6 },
    ],
    [
      'a deletion',
      (l) => l.toSpliced(2, 1),
      { problem: 'deleted', line: 3, seq: 4, reason: 'record 3 is missing' },
    ],
    [
      'a deletion of several',
      (l) => l.toSpliced(1, 3),
      { problem: 'deleted', line: 2, seq: 5, reason: 'record 2 is missing, and all up to 4' },
    ],
    ['a deletion of the beginning', (l) => l.slice(2), { problem: 'deleted', line: 1, seq: 3 }],
    [
      'two records swapped',
      (l) => l.with(2, l[3]!).with(3, l[2]!),
      { problem: 'reordered', line: 3, seq: 4 },
    ],
    ['a record moved far', (l) => [...l.toSpliced(1, 1), l[1]!], { problem: 'reordered', line: 2, seq: 3 }],
    ['a record twice', (l) => l.toSpliced(3, 0, l[2]!), { problem: 'duplicated', line: 4, seq: 3 }],
    ['a record repeated at the end', (l) => [...l, l[1]!], { problem: 'duplicated', line: 7, seq: 2 }],
    ['a line that is no record', (l) => l.toSpliced(3, 0, 'hello'), { problem: 'malformed', line: 4 }],
    ['an empty line', (l) => l.toSpliced(3, 0, ''), { problem: 'malformed', line: 4 }],
    ['a very long line', (l) => l.toSpliced(3, 0, 'x'.repeat(3_000_000)), { problem: 'malformed', line: 4 }],
    [
      'a line without its seal',
      (l) => l.with(3, l[3]!.replace(/,"mac":.*/, '}')),
      { problem: 'malformed', line: 4 },
    ],
  ])('%s', async (_what, change, expected) => {
    expect(await afterwards(change)).toMatchObject({ ok: false, ...expected });
  });

  it('a record of another trail with the same key', async () => {
    const other = written();
    expect(await afterwards((lines) => lines.with(3, other.lines[3]!))).toMatchObject({
      problem: 'rewritten',
      line: 4,
      seq: 4,
    });
  });

  it('an end cut off: by the head that was kept elsewhere', async () => {
    const { path, lines, heads } = written();
    writeFileSync(path, `${lines.slice(0, 4).join('\n')}\n`);
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: true, records: 4 });
    expect(await verifyAudit(path, { key, head: heads[5]! })).toMatchObject({
      ok: false,
      problem: 'truncated',
      records: 4,
      seq: 5,
      reason: 'the trail ends with record 4, but record 6 was written',
    });
  });

  it('an end cut off in the middle of a record', async () => {
    const { path, lines, heads } = written();
    writeFileSync(path, lines.join('\n').slice(0, -20));
    expect(await verifyAudit(path, { key, head: heads[5]! })).toMatchObject({
      ok: false,
      problem: 'truncated',
      seq: 6,
    });
  });

  it('everything emptied', async () => {
    const { path, heads } = written();
    writeFileSync(path, '');
    expect(await verifyAudit(path, { key, head: heads[0]! })).toMatchObject({
      ok: false,
      problem: 'truncated',
      seq: 1,
    });
  });

  it('a trail rewritten as a whole, by the key', async () => {
    const { path } = written({ key: 'the key of whoever rewrote it' });
    expect(await verifyAudit(path, { key })).toMatchObject({ ok: false, problem: 'edited', line: 1, seq: 1 });
  });

  it('a trail without a key, rewritten with good seals, by the head', async () => {
    const { path, lines, heads } = written({});
    let prev = '0'.repeat(64);
    const forged = lines.map((line, i) => {
      const body = line
        .replace(/,"mac":.*/, '')
        .replace(/"prev":"\w+"/, `"prev":"${prev}"`)
        .replace('"amount":3', `"amount":${i === 2 ? 4 : 3}`);
      prev = createHash('sha256').update(body).digest('hex');
      return `${body},"mac":"${prev}"}`;
    });
    writeFileSync(path, `${forged.join('\n')}\n`);
    expect(await verifyAudit(path)).toMatchObject({ ok: true });
    expect(await verifyAudit(path, { head: heads[5]! })).toMatchObject({
      ok: false,
      problem: 'rewritten',
      seq: 6,
    });
    expect(await verifyAudit(path, { head: heads })).toMatchObject({
      ok: false,
      problem: 'rewritten',
      seq: 3,
      line: 3,
    });
  });

  it('any change of any one byte', async () => {
    const { path, heads } = written();
    const good = readFileSync(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const bad = Buffer.from(good);
        bad[at]! ^= flip;
        writeFileSync(path, bad);
        const verdict = await verifyAudit(path, { key, head: heads[5]! });
        const line = good.subarray(0, at).toString().split('\n').length;
        expect(verdict).toMatchObject({ ok: false, line });
      }),
      { numRuns: 150 },
    );
  });
});
