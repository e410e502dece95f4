import { TroupeError } from '../../core/errors.ts';
import { ByteBuffer } from '../byte-buffer.ts';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const NEWLINE = Buffer.from('\n');
const DATA = Buffer.from('data');
const EVENT = Buffer.from('event');
const ID = Buffer.from('id');
const RETRY = Buffer.from('retry');
/** An id is sent back as a header; a longer one would not fit there. Characters. */
const MAX_ID = 4096;

/**
 * Parser of `text/event-stream` (WHATWG HTML §9.2.6) in time linear in the bytes, with a limit on one event. Lines end in LF, CR or
 * CRLF; a byte order mark, comments, ids and retry times are understood; an event that the end of the stream cuts off
 * is dropped. Data is handed over as bytes, without a copy where the event is one line in one piece.
 */
export class EventStreamParser {
  /** Id of the last complete event, as a header value (bytes as Latin-1). */
  lastEventId: string | undefined;
  /** Reconnection time the server asked for, milliseconds. */
  retryMs: number | undefined;
  readonly #maxEventBytes: number;
  readonly #onEvent: (data: Buffer, type: string) => void;
  readonly #partial = new ByteBuffer();
  readonly #lines = new ByteBuffer();
  #data: Buffer | undefined;
  #type = '';
  #id: string | undefined;
  #firstLine = true;
  #skipLf = false;
  #stopped = false;

  /** `onEvent` gets the data and the type (`message` unless the event names one). */
  constructor(maxEventBytes: number, onEvent: (data: Buffer, type: string) => void) {
    this.#maxEventBytes = maxEventBytes;
    this.#onEvent = onEvent;
  }

  /** Nothing is reported any more, not even the rest of the piece being read. */
  stop(): void {
    this.#stopped = true;
  }

  /** Throws `limit_exceeded` when one event grows beyond the limit; the parser is of no use afterwards. */
  push(piece: Buffer): void {
    let at = 0;
    if (this.#skipLf && piece.length > 0) {
      this.#skipLf = false;
      if (piece[0] === LF) at = 1;
    }
    // Both searches remember where they stopped: no byte is looked at twice by the same one.
    let lf = -2;
    let cr = -2;
    while (at < piece.length && !this.#stopped) {
      if (lf !== -1 && lf < at) lf = piece.indexOf(LF, at);
      if (cr !== -1 && cr < at) cr = piece.indexOf(CR, at);
      const end = lf === -1 ? cr : cr === -1 ? lf : Math.min(lf, cr);
      if (end === -1) {
        this.#check(this.#partial.length + piece.length - at);
        this.#partial.push(at === 0 ? piece : piece.subarray(at));
        return;
      }
      this.#line(piece, at, end);
      at = end + 1;
      if (piece[end] !== CR) continue;
      if (at === piece.length) this.#skipLf = true;
      else if (piece[at] === LF) at += 1;
    }
  }

  #line(piece: Buffer, from: number, to: number): void {
    let line = piece;
    let start = from;
    let end = to;
    if (this.#partial.length > 0) {
      this.#check(this.#partial.length + to - from);
      this.#partial.push(piece.subarray(from, to));
      line = this.#partial.take();
      start = 0;
      end = line.length;
    }
    if (this.#firstLine) {
      this.#firstLine = false;
      if (end - start >= 3 && line[start] === 0xef && line[start + 1] === 0xbb && line[start + 2] === 0xbf)
        start += 3;
    }
    if (start === end) this.#dispatch();
    else this.#field(line, start, end);
  }

  #field(line: Buffer, start: number, end: number): void {
    // Only the four known names are looked at: searching for the colon could run far beyond the line.
    if (isField(line, start, end, DATA)) {
      const from = valueStart(line, start + DATA.length, end);
      this.#check(end - from);
      if (this.#data === undefined && this.#lines.length === 0) this.#data = line.subarray(from, end);
      else {
        if (this.#data !== undefined) {
          // An empty first line still counts as one.
          this.#lines.push(this.#data.length === 0 ? NEWLINE : Buffer.concat([this.#data, NEWLINE]));
          this.#data = undefined;
        } else this.#lines.push(NEWLINE);
        this.#lines.push(line.subarray(from, end));
      }
    } else if (isField(line, start, end, EVENT)) {
      this.#type = line.toString('utf8', valueStart(line, start + EVENT.length, end), end);
    } else if (isField(line, start, end, ID)) {
      const from = valueStart(line, start + ID.length, end);
      const id = line.toString('latin1', from, Math.min(end, from + MAX_ID + 1));
      // eslint-disable-next-line no-control-regex -- control characters are what must not get into a header
      if (id.length <= MAX_ID && !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(id)) this.#id = id;
    } else if (isField(line, start, end, RETRY)) {
      const digits = line.toString('latin1', valueStart(line, start + RETRY.length, end), end);
      if (/^\d{1,15}$/.test(digits)) this.retryMs = Number(digits);
    }
  }

  #dispatch(): void {
    if (this.#id !== undefined) this.lastEventId = this.#id === '' ? undefined : this.#id;
    const type = this.#type === '' ? 'message' : this.#type;
    this.#type = '';
    let data = this.#data;
    this.#data = undefined;
    if (data === undefined) {
      if (this.#lines.length === 0) return;
      data = this.#lines.take();
    }
    this.#onEvent(data, type);
  }

  #check(more: number): void {
    const size = this.#lines.length + (this.#data?.length ?? 0) + more;
    if (size <= this.#maxEventBytes) return;
    this.#stopped = true;
    throw new TroupeError(
      'limit_exceeded',
      `an event of the stream is larger than ${this.#maxEventBytes} bytes`,
      {
        delivery: 'answered',
        data: { limit: this.#maxEventBytes, atLeast: size },
      },
    );
  }
}

function isField(line: Buffer, start: number, end: number, name: Buffer): boolean {
  const after = start + name.length;
  if (after > end || (after < end && line[after] !== COLON)) return false;
  for (let i = 0; i < name.length; i += 1) if (line[start + i] !== name[i]) return false;
  return true;
}

function valueStart(line: Buffer, colon: number, end: number): number {
  if (colon >= end) return end;
  return line[colon + 1] === SPACE && colon + 1 < end ? colon + 2 : colon + 1;
}
