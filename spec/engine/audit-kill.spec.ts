import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build, stop } from 'esbuild';
import { seededRandom } from '../../lib/core/ports.ts';
import { createEngine } from '../../lib/engine/engine.ts';
import { digestOf } from '../../lib/security/argument-digest.ts';
import { EMPTY_CHAIN, encodeRecord, sealOf, type AuditHead } from '../../lib/security/audit-record.ts';
import { verifyAudit } from '../../lib/security/audit-verify.ts';
import { subkey } from '../../lib/security/keys.ts';
import { ROOT } from '../support/programs.ts';

const key = 'a key of sixteen bytes or more';
const HOST = fileURLToPath(new URL('../support/audited-host.mjs', import.meta.url));
/** Two files, each killed over and over, at the same time. */
const LANES = 2;
const KILLS = 15;

interface AuditLine {
  readonly kind: string;
  readonly event?: string;
  readonly request?: number;
  readonly ok?: boolean;
  readonly target?: string;
  readonly arguments?: { readonly hmac: string };
}

let folder: string;
let engine: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
  // The engine looks for its package two folders above.
  mkdirSync(join(folder, 'lib', 'engine'), { recursive: true });
  copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  engine = join(folder, 'lib', 'engine', 'engine.mjs');
  await build({
    entryPoints: [join(ROOT, 'lib', 'index.ts')],
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    mainFields: ['module', 'main'],
    banner: {
      js: "import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);",
    },
    outfile: engine,
    logLevel: 'error',
  });
}, 120_000);
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Acknowledged {
  readonly head: AuditHead;
  readonly done: readonly string[];
}

/** Lets a host work until so many of its calls were answered, then kills it; gives what it had acknowledged by then. */
async function workUntilKilled(
  path: string,
  effects: string,
  calls: number,
  during?: () => void,
): Promise<Acknowledged> {
  const host = spawn(process.execPath, [HOST, engine, path, key, effects], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let told = '';
  let complaint = '';
  let asked = false;
  host.stdout.setEncoding('utf8').on('data', (text: string) => {
    told += text;
    if (told.split('\ndone ').length <= calls) return;
    if (!asked) during?.();
    asked = true;
    host.kill('SIGKILL');
  });
  host.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const [, signal] = (await once(host, 'close')) as [number | null, string | null];
  expect({ signal, complaint }).toEqual({ signal: 'SIGKILL', complaint: '' });
  // A line without its end was not told.
  const lines = told
    .slice(0, told.lastIndexOf('\n'))
    .split('\n')
    .map((line) => line.split(' '));
  const [, seq = '', mac = ''] = lines.findLast(([what]) => what === 'head') ?? [];
  return {
    head: { seq: Number(seq), mac },
    done: lines.flatMap(([what, nonce = '']) => (what === 'done' ? [nonce] : [])),
  };
}

/**
 * The records of each host that has written the file, in the order of the hosts. A kill may tear the last line by itself: a
 * write ends at a page of memory when the process is killed amid it.
 */
function runsOf(path: string): AuditLine[][] {
  const runs: AuditLine[][] = [];
  const whole = readFileSync(path, 'utf8');
  for (const text of whole.slice(0, whole.lastIndexOf('\n')).split('\n')) {
    const line = JSON.parse(text) as AuditLine;
    if (line.event === 'audit.opened') runs.push([]);
    runs.at(-1)?.push(line);
  }
  return runs;
}

const argumentKey = subkey(key, 'audit arguments', 'audit.key');
const hmacOf = (nonce: string): string => digestOf({ nonce }, argumentKey).hmac as string;

async function lane(number: number): Promise<string> {
  const path = join(folder, `audit-${number}.jsonl`);
  const effects = join(folder, `effects-${number}`);
  const random = seededRandom(number);
  let torn = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const shared: unknown[] = [];
    const { head, done } = await workUntilKilled(path, effects, 1 + Math.floor(random() * 60), () => {
      if (kill > 0) return;
      try {
        createEngine({ servers: {}, audit: { file: path, key } });
      } catch (error) {
        shared.push(error);
      }
    });
    // Two engines on one file: the second is refused, and says which process has it.
    if (kill === 0)
      expect(shared).toMatchObject([
        { code: 'config_invalid', data: { field: 'audit.file', reason: 'locked' } },
      ]);

    // Nothing that was acknowledged is lost: the last head stands in the chain, and so does all before it.
    expect(await verifyAudit(path, { key, head })).toMatchObject({ ok: true });
    const run = runsOf(path).at(-1) ?? [];
    // A refused call has the arguments of the one before it: the tool tells them apart.
    const intents = new Map(
      run.flatMap((line) =>
        line.kind === 'intent' && line.target?.endsWith('__act') === true && line.arguments
          ? [[line.arguments.hmac, line.request]]
          : [],
      ),
    );
    const succeeded = new Set(
      run.flatMap((line) => (line.kind === 'outcome' && line.ok ? [line.request] : [])),
    );
    expect(done.filter((nonce) => !succeeded.has(intents.get(hmacOf(nonce))))).toEqual([]);

    // As if the kill had come in the middle of a record.
    if (kill % 4 === 3) {
      appendFileSync(path, `{"seq":${head.seq + 100},"at":1,"kind":"int`);
      torn += 1;
    }
  }
  // What a server did stands in the trail as an intent, whether its answer was ever seen or not; refused calls did nothing.
  const all = new Set(
    runsOf(path)
      .flat()
      .map((line) => line.arguments?.hmac),
  );
  const did = readFileSync(effects, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' '));
  expect(did.length).toBeGreaterThanOrEqual(KILLS);
  expect(did.filter(([tool, nonce = '']) => tool !== 'act' || !all.has(hmacOf(nonce)))).toEqual([]);
  const repaired = runsOf(path)
    .flat()
    .filter(({ event }) => event === 'audit.repaired');
  expect(repaired.length).toBeGreaterThanOrEqual(torn - 1);
  return path;
}

describe('kill -9 of a host under load', () => {
  it(`loses no acknowledged record, ${LANES * KILLS} times, and every tampering of the file is found`, async () => {
    const lanes = await Promise.allSettled(Array.from({ length: LANES }, (_, number) => lane(number + 1)));
    const [path = ''] = lanes.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    });
    const text = readFileSync(path, 'utf8');
    const lines = text.slice(0, text.lastIndexOf('\n')).split('\n');
    const verdict = await verifyAudit(path, { key });
    if (!verdict.ok) throw new Error(verdict.reason);
    const { head } = verdict;
    const at = Math.floor(lines.length / 2);
    let chain = EMPTY_CHAIN;
    const forged = lines.map((line) => {
      const { kind, request, ok } = JSON.parse(line) as AuditLine;
      const record = encodeRecord(
        chain,
        1,
        kind as 'event',
        { request, ok },
        sealOf('another key of some length'),
      );
      chain = record.head;
      return record.line;
    });
    const tampered: Readonly<Record<string, readonly [string[], string]>> = {
      edited: [lines.with(at, (lines[at] as string).replace('"at":', '"at":1')), 'edited'],
      deleted: [lines.toSpliced(at, 1), 'deleted'],
      reordered: [lines.with(at, lines[at + 1] as string).with(at + 1, lines[at] as string), 'reordered'],
      duplicated: [lines.toSpliced(at, 0, lines[at - 1] as string), 'duplicated'],
      truncated: [lines.slice(0, -1), 'truncated'],
      'written anew by somebody without the key': [forged, 'edited'],
    };
    for (const [what, [changed, problem]] of Object.entries(tampered)) {
      const copy = join(folder, 'copy.jsonl');
      writeFileSync(copy, `${changed.join('\n')}\n`);
      const found = await verifyAudit(copy, { key, head });
      expect([what, found]).toMatchObject([what, { ok: false, problem }]);
    }
    expect(existsSync(`${path}.lock`)).toBe(true);
  }, 400_000);
});
