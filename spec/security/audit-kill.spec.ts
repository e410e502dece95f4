import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build, stop } from 'esbuild';
import { seededRandom } from '../../lib/core/ports.ts';
import { verifyAudit } from '../../lib/security/audit-verify.ts';

const key = 'a key of sixteen bytes or more';
const KILLS = 30;
const WRITER = fileURLToPath(new URL('../support/audit-writer.mjs', import.meta.url));
const AUDIT = fileURLToPath(new URL('../../lib/security/audit.ts', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
  await build({
    entryPoints: [AUDIT],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: join(folder, 'audit.mjs'),
    logLevel: 'error',
  });
});
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Lets a child write until it has acknowledged so many records, then kills it; gives the last acknowledged number. */
async function writeUntilKilled(path: string, records: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, join(folder, 'audit.mjs'), path, key], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let acknowledged = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    acknowledged += text;
    if (acknowledged.split('\n').length > records) child.kill('SIGKILL');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  expect({ signal, complaint }).toEqual({ signal: 'SIGKILL', complaint: '' });
  return Number(acknowledged.slice(0, acknowledged.lastIndexOf('\n')).split('\n').at(-1));
}

describe('kill -9 while records are written', () => {
  it(`loses none that was acknowledged, ${KILLS} times over on one file`, async () => {
    const path = join(folder, 'audit.jsonl');
    const random = seededRandom(5);
    for (let kill = 0; kill < KILLS; kill++) {
      const acknowledged = await writeUntilKilled(path, 1 + Math.floor(random() * 60));
      const verdict = await verifyAudit(path, { key });
      expect(verdict).toMatchObject({ ok: true });
      expect(verdict.ok && verdict.head.seq).toBeGreaterThanOrEqual(acknowledged);
    }
  }, 120_000);
});
