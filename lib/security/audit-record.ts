import { createHash, createHmac } from 'node:crypto';
import { subkey } from './keys.ts';
import type { KeySource } from './keys.ts';

/** `intent`: before the effect. `outcome`: after it. `event`: anything else worth knowing later. */
export type AuditKind = 'intent' | 'outcome' | 'event';
export type AuditFields = Readonly<Record<string, unknown>>;

/** A point of the chain. Kept outside the file it proves that nothing before it was changed, and nothing cut off. */
export interface AuditHead {
  readonly seq: number;
  readonly mac: string;
}

export const EMPTY_CHAIN: AuditHead = Object.freeze({ seq: 0, mac: '0'.repeat(64) });

/** Longest record, in bytes; longer fields are replaced by their size. */
export const MAX_RECORD_BYTES = 65_536;

/** Signs the text of a record: HMAC-SHA-256 with a key, SHA-256 without. Hex. */
export type Seal = (body: string) => string;

const RESERVED: ReadonlySet<string> = new Set(['seq', 'at', 'kind', 'prev', 'mac']);
const MAC_LENGTH = 64;
const TAIL = /,"mac":"([0-9a-f]{64})"\}$/;
/** `,"mac":"` and `"}` around it. */
const TAIL_LENGTH = MAC_LENGTH + 10;

export function sealOf(key: KeySource | undefined): Seal {
  if (key === undefined) return (body) => createHash('sha256').update(body).digest('hex');
  const secret = subkey(key, 'audit chain', 'audit.key');
  return (body) => createHmac('sha256', secret).update(body).digest('hex');
}

/**
 * One line of the trail, without its newline. The seal covers the bytes of the line itself, the seal of the line
 * before included: nobody has to agree on how JSON is written.
 */
export function encodeRecord(
  previous: AuditHead,
  at: number,
  kind: AuditKind,
  fields: AuditFields,
  seal: Seal,
): { readonly line: string; readonly head: AuditHead } {
  const seq = previous.seq + 1;
  const open = `{"seq":${seq},"at":${at},"kind":"${kind}"${bounded(fields)},"prev":"${previous.mac}"`;
  const mac = seal(open);
  return { line: `${open},"mac":"${mac}"}`, head: { seq, mac } };
}

function bounded(fields: AuditFields): string {
  const own = Object.keys(fields).some((field) => RESERVED.has(field))
    ? Object.fromEntries(Object.entries(fields).filter(([field]) => !RESERVED.has(field)))
    : fields;
  const text = JSON.stringify(own);
  if (text === '{}') return '';
  const inner = text.slice(1, -1);
  // A code unit is at most three bytes of UTF-8.
  return inner.length * 3 > MAX_RECORD_BYTES - 512 ? `,"omitted":"${inner.length} characters"` : `,${inner}`;
}

export interface AuditRecord {
  readonly seq: number;
  readonly prev: string;
  readonly mac: string;
  /** The seal fits the text. */
  readonly sealed: boolean;
}

/** `undefined` for what is not a record at all. */
export function decodeRecord(line: string, seal: Seal): AuditRecord | undefined {
  const mac = TAIL.exec(line)?.[1];
  if (mac === undefined) return undefined;
  try {
    const { seq, prev } = JSON.parse(line) as { seq?: unknown; prev?: unknown };
    if (!Number.isSafeInteger(seq) || typeof prev !== 'string') return undefined;
    return { seq: seq as number, prev, mac, sealed: seal(line.slice(0, -TAIL_LENGTH)) === mac };
  } catch {
    return undefined;
  }
}
