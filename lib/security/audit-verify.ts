import { promises } from 'node:fs';
import { TroupeError, errorText } from '../core/errors.ts';
import { EMPTY_CHAIN, decodeRecord, sealOf } from './audit-record.ts';
import type { AuditHead, AuditRecord, Seal } from './audit-record.ts';
import type { KeySource } from './keys.ts';

/**
 * `edited`: the record's text does not fit its seal (or was written with another key). `deleted`: records before it are
 * missing. `reordered`: it comes too early or too late. `duplicated`: it stands there twice. `rewritten`: sealed well, but not after what
 * stands before it, or not what the head says. `truncated`: the head lies behind the end. `malformed`: no record at all.
 */
export type AuditProblem =
  | 'edited'
  | 'deleted'
  | 'reordered'
  | 'duplicated'
  | 'rewritten'
  | 'truncated'
  | 'malformed';

export type AuditVerdict =
  | {
      readonly ok: true;
      readonly records: number;
      readonly head: AuditHead;
      /** Bytes of an unfinished last line: a crash, or a record being written just now. */
      readonly tornBytes: number;
    }
  | {
      readonly ok: false;
      /** Good records before the bad one. */
      readonly records: number;
      readonly problem: AuditProblem;
      /** Line of the first bad record, counted from 1. */
      readonly line: number;
      /** Its sequence number, where it has one. */
      readonly seq?: number;
      readonly reason: string;
    };

export interface VerifyOptions {
  /** The key the trail was written with. */
  readonly key?: KeySource;
  /** Heads kept outside the file. Without one a cut-off end cannot be told; without key and head, a rewritten file cannot. */
  readonly head?: AuditHead | readonly AuditHead[];
}

type FileHandle = promises.FileHandle;

const CHUNK_BYTES = 262_144;
/** A line longer than this is none of ours, and is not collected. */
const MAX_LINE_BYTES = 1_048_576;

/** Reads the whole trail, in pieces that leave the event loop room, and names the first bad record. Changes nothing. */
export async function verifyAudit(path: string, options: VerifyOptions = {}): Promise<AuditVerdict> {
  const seal = sealOf(options.key);
  const known: readonly AuditHead[] = options.head === undefined ? [] : [options.head].flat();
  const heads = new Map(known.map((head) => [head.seq, head.mac]));
  let file: FileHandle;
  try {
    file = await promises.open(path, 'r');
  } catch (error) {
    throw new TroupeError('not_found', `cannot read the audit trail "${path}": ${errorText(error)}`, {
      cause: error,
    });
  }
  try {
    return await walk(file, seal, heads);
  } finally {
    await file.close();
  }
}

async function walk(file: FileHandle, seal: Seal, heads: ReadonlyMap<number, string>): Promise<AuditVerdict> {
  let last = EMPTY_CHAIN;
  let line = 0;
  let tornBytes = 0;
  for await (const piece of linesOf(file)) {
    if (!piece.whole) {
      tornBytes = piece.bytes;
      break;
    }
    line++;
    const record = decodeRecord(piece.text, seal);
    const problem = problemOf(record, last, heads);
    if (problem !== undefined) {
      const kind =
        problem === 'deleted' && (await standsLater(file, last.seq + 1, seal)) ? 'reordered' : problem;
      return bad(line, kind, record, last);
    }
    last = record === undefined ? last : { seq: record.seq, mac: record.mac };
  }
  const behind = Math.max(0, ...heads.keys());
  if (behind > last.seq) {
    const reason = `the trail ends with record ${last.seq}, but record ${behind} was written`;
    return { ok: false, records: line, problem: 'truncated', line: line + 1, seq: last.seq + 1, reason };
  }
  return { ok: true, records: line, head: last, tornBytes };
}

function problemOf(
  record: AuditRecord | undefined,
  last: AuditHead,
  heads: ReadonlyMap<number, string>,
): AuditProblem | undefined {
  if (record === undefined) return 'malformed';
  if (!record.sealed) return 'edited';
  if (record.seq > last.seq + 1) return 'deleted';
  if (record.seq <= last.seq) return 'duplicated';
  const expected = heads.get(record.seq);
  if (record.prev !== last.mac || (expected !== undefined && expected !== record.mac)) return 'rewritten';
  return undefined;
}

function bad(
  line: number,
  problem: AuditProblem,
  record: AuditRecord | undefined,
  last: AuditHead,
): AuditVerdict {
  const seq = record === undefined ? {} : { seq: record.seq };
  return { ok: false, records: line - 1, problem, line, ...seq, reason: reasonOf(problem, record, last) };
}

function reasonOf(problem: AuditProblem, record: AuditRecord | undefined, last: AuditHead): string {
  const seq = record?.seq ?? 0;
  switch (problem) {
    case 'edited':
      return `record ${seq} does not fit its seal: it was changed, or written with another key`;
    case 'deleted':
      return `record ${last.seq + 1} is missing${seq > last.seq + 2 ? `, and all up to ${seq - 1}` : ''}`;
    case 'reordered':
      return `record ${seq} stands where record ${last.seq + 1} belongs, which comes later`;
    case 'duplicated':
      return `record ${seq} stands here again, after record ${last.seq}`;
    case 'rewritten':
      return `record ${seq} is not the one that was written: the chain before it, or the head, says otherwise`;
    case 'truncated':
    case 'malformed':
      break;
  }
  return 'this line is no record of an audit trail';
}

async function standsLater(file: FileHandle, seq: number, seal: Seal): Promise<boolean> {
  for await (const piece of linesOf(file)) {
    if (piece.whole && decodeRecord(piece.text, seal)?.seq === seq) return true;
  }
  return false;
}

interface Line {
  readonly text: string;
  readonly bytes: number;
  /** It has its newline. */
  readonly whole: boolean;
}

async function* linesOf(file: FileHandle): AsyncGenerator<Line> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let rest = Buffer.alloc(0);
  let dropped = 0;
  for (let position = 0; ;) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0 && end < bytesRead; end = chunk.indexOf(0x0a, from)) {
      const bytes = Buffer.concat([rest, chunk.subarray(from, end)]);
      yield { text: dropped > 0 ? '' : bytes.toString('utf8'), bytes: bytes.length, whole: true };
      rest = Buffer.alloc(0);
      dropped = 0;
      from = end + 1;
    }
    rest = Buffer.concat([rest, chunk.subarray(from, bytesRead)]);
    if (rest.length > MAX_LINE_BYTES) {
      dropped += rest.length;
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length + dropped > 0) yield { text: '', bytes: rest.length + dropped, whole: false };
}
