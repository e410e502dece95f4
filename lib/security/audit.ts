import { createSecretKey, createHash, randomBytes, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { TroupeError, errorText } from '../core/errors.ts';
import { digestOf } from './argument-digest.ts';
import type { ArgumentDigest } from './argument-digest.ts';
import { EMPTY_CHAIN, MAX_RECORD_BYTES, decodeRecord, encodeRecord, sealOf } from './audit-record.ts';
import type { AuditFields, AuditHead, AuditKind, Seal } from './audit-record.ts';
import { acquireFileLock } from './file-lock.ts';
import type { FileLock } from './file-lock.ts';
import { subkey } from './keys.ts';
import type { KeySource } from './keys.ts';

export interface AuditOptions {
  /** JSON Lines; its directory exists. Beside it stands `<path>.lock` while the trail is open. */
  readonly path: string;
  /** With a key nobody without it can forge a record. Without one only a head kept elsewhere proves anything. */
  readonly key?: KeySource;
  /**
   * What happens when a record cannot be written: `refuse` (default) throws, so that nothing is done that is not on
   * record; `continue` goes on, and the number of lost records is written once it is possible again.
   */
  readonly onFailure?: 'refuse' | 'continue';
  /** Told of every record that was lost. */
  readonly onError?: (error: TroupeError) => void;
  /** Called with each new head, to keep it elsewhere. One that throws counts as a record not written. */
  readonly onHead?: (head: AuditHead) => void;
  /**
   * `none` (default): a record is with the operating system before `append` returns and survives the death of the
   * process. `data`: it is on the disk (fdatasync) and survives the machine's; 0.4 ms each (reliability §5.6).
   */
  readonly sync?: 'none' | 'data';
  /** Applied to all fields before they are written. */
  readonly redact?: (fields: AuditFields) => AuditFields;
  readonly clock?: Pick<Clock, 'wallTime'>;
  /** How bytes reach the file. Default `fs.writeSync`. */
  readonly write?: (fd: number, bytes: Uint8Array, offset: number, length: number) => number;
}

/** A file that only grows, in which every record vouches for the one before. Owned by one engine. */
export interface AuditTrail {
  /** Where the chain stands. */
  readonly head: AuditHead;
  /** Records that could not be written since the last one that could. */
  readonly lost: number;
  /** Writes one record before it returns. `undefined` where it could not and `onFailure` is `continue`. */
  append(kind: AuditKind, fields: AuditFields): AuditHead | undefined;
  /** What a record may say about arguments. */
  digest(value: unknown): ArgumentDigest;
  /** Gives the file free. Idempotent; what is appended later is lost. */
  close(): void;
}

/** Opens or begins a trail, repairs a torn last line and puts that on record. Throws `config_invalid`. */
export function createAuditTrail(options: AuditOptions): AuditTrail {
  const seal = sealOf(options.key);
  // Without a key the digests only serve to compare within one run: an unkeyed hash of a short value can be guessed.
  const argumentKey =
    options.key === undefined
      ? createSecretKey(randomBytes(32))
      : subkey(options.key, 'audit arguments', 'audit.key');
  const lock = acquireFileLock(`${options.path}.lock`);
  let fd: number | undefined;
  try {
    fd = openFile(options.path);
    const trail = new Trail(options, seal, argumentKey, lock, fd);
    trail.begin();
    return trail;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    lock.release();
    throw error;
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    throw new TroupeError('config_invalid', `audit.file: cannot open "${path}": ${errorText(error)}`, {
      data: { field: 'audit.file' },
      cause: error,
    });
  }
}

class Trail implements AuditTrail {
  readonly #options: AuditOptions;
  readonly #seal: Seal;
  readonly #argumentKey: KeyObject;
  readonly #lock: FileLock;
  readonly #fd: number;
  readonly #write: NonNullable<AuditOptions['write']>;
  readonly #wallTime: () => number;
  #head: AuditHead = EMPTY_CHAIN;
  /** Length of the file up to the last whole record. */
  #size: number;
  /** Part of a record may stand after `#size`. */
  #torn = false;
  #lost = 0;
  #closed = false;
  readonly #repaired: { readonly bytes: number; readonly sha256: string } | undefined;

  constructor(options: AuditOptions, seal: Seal, argumentKey: KeyObject, lock: FileLock, fd: number) {
    this.#options = options;
    this.#seal = seal;
    this.#argumentKey = argumentKey;
    this.#lock = lock;
    this.#fd = fd;
    this.#write = options.write ?? writeSync;
    const { clock } = options;
    this.#wallTime = clock === undefined ? Date.now : () => clock.wallTime();
    const tail = readTail(fd, options.path, seal);
    this.#head = tail.head;
    this.#size = tail.size;
    this.#torn = tail.torn.length > 0;
    this.#repaired = this.#torn
      ? { bytes: tail.torn.length, sha256: createHash('sha256').update(tail.torn).digest('hex') }
      : undefined;
  }

  /** Throws `config_invalid` where nothing can be written and the trail refuses: better now than at the first request. */
  begin(): void {
    try {
      if (this.#repaired !== undefined) this.append('event', { event: 'audit.repaired', ...this.#repaired });
      const fresh = this.#head.seq === 0 ? { trail: randomUUID() } : {};
      this.append('event', { event: 'audit.opened', pid: process.pid, ...fresh });
    } catch (error) {
      throw new TroupeError('config_invalid', `audit.file: ${TroupeError.from(error).detail}`, {
        data: { field: 'audit.file' },
        cause: error,
      });
    }
  }

  get head(): AuditHead {
    return this.#head;
  }

  get lost(): number {
    return this.#lost;
  }

  append(kind: AuditKind, fields: AuditFields): AuditHead | undefined {
    try {
      if (this.#closed) throw new Error('the trail is closed');
      if (this.#lost > 0) {
        this.#put('event', { event: 'audit.gap', lost: this.#lost });
        this.#lost = 0;
      }
      return this.#put(kind, this.#options.redact === undefined ? fields : this.#options.redact(fields));
    } catch (cause) {
      return this.#fail(cause);
    }
  }

  digest(value: unknown): ArgumentDigest {
    return digestOf(value, this.#argumentKey);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      closeSync(this.#fd);
    } catch {
      // Closed behind our back; every write since has failed already.
    }
    this.#lock.release();
  }

  #put(kind: AuditKind, fields: AuditFields): AuditHead {
    if (this.#torn) this.#cutBack();
    const { line, head } = encodeRecord(this.#head, this.#wallTime(), kind, fields, this.#seal);
    const bytes = Buffer.from(`${line}\n`, 'utf8');
    try {
      for (let offset = 0; offset < bytes.length;) {
        const written = this.#write(this.#fd, bytes, offset, bytes.length - offset);
        if (written <= 0) throw new Error('nothing was written');
        this.#torn = true;
        offset += written;
      }
      if (this.#options.sync === 'data') fdatasyncSync(this.#fd);
      this.#options.onHead?.(head);
    } catch (error) {
      if (this.#torn) this.#cutBackQuietly();
      throw error;
    }
    this.#torn = false;
    this.#size += bytes.length;
    this.#head = head;
    return head;
  }

  #cutBack(): void {
    ftruncateSync(this.#fd, this.#size);
    this.#torn = false;
  }

  #cutBackQuietly(): void {
    try {
      this.#cutBack();
    } catch {
      // The next record tries again, and none is written behind a torn one.
    }
  }

  #fail(cause: unknown): undefined {
    this.#lost++;
    const error = new TroupeError('denied', `the audit trail cannot be written: ${errorText(cause)}`, {
      data: { reason: 'audit_failed' },
      cause,
    });
    try {
      this.#options.onError?.(error);
    } catch {
      // Whoever listens harms nobody.
    }
    if (this.#options.onFailure !== 'continue') throw error;
    return undefined;
  }
}

interface Tail {
  readonly head: AuditHead;
  readonly size: number;
  readonly torn: Buffer;
}

/** The last whole record, and what stands after it. The chain before it is for `verifyAudit`. */
function readTail(fd: number, path: string, seal: Seal): Tail {
  const stat = fstatSync(fd);
  const size = stat.isFile() ? stat.size : 0;
  const length = Math.min(size, 2 * MAX_RECORD_BYTES);
  const bytes = Buffer.alloc(length);
  for (let offset = 0; offset < length;) {
    const read = readSync(fd, bytes, offset, length - offset, size - length + offset);
    if (read === 0) break;
    offset += read;
  }
  const end = bytes.lastIndexOf(0x0a);
  const torn = bytes.subarray(end + 1);
  if (end < 0) {
    if (length < size || torn.length > MAX_RECORD_BYTES) throw damaged(path);
    return { head: EMPTY_CHAIN, size: 0, torn };
  }
  const start = end === 0 ? 0 : bytes.lastIndexOf(0x0a, end - 1) + 1;
  const record = decodeRecord(bytes.toString('utf8', start, end), seal);
  if (record?.sealed !== true) throw damaged(path);
  return { head: { seq: record.seq, mac: record.mac }, size: size - torn.length, torn };
}

function damaged(path: string): TroupeError {
  return new TroupeError(
    'config_invalid',
    `audit.file: the last record of "${path}" does not fit the key: another key, no trail of ours, or changed by someone; check it with verifyAudit, then move it away`,
    { data: { field: 'audit.file' } },
  );
}
