import { ByteBuffer } from '../byte-buffer.ts';
import { GLANCE_BYTES } from './glance.ts';

export interface FrameReaderOptions {
  /** Longest line handed on, in bytes without its line ending. */
  readonly maxBytes: number;
  /**
   * One line without its ending, never empty. Its memory is used again once this returns; only a line of
   * `LARGE_LINE_BYTES` or more has memory of its own.
   */
  readonly onFrame: (frame: Buffer) => void;
  /**
   * A line was longer and is gone; told once it has ended. `bytes` is its whole length, `head` and `tail` its first
   * and last bytes, at most `GLANCE_BYTES` of each.
   */
  readonly onTooLong: (head: Buffer, bytes: number, tail: Buffer) => void;
}

export interface FrameReader {
  push(chunk: Buffer): void;
  /** Nothing follows: what stands behind the last newline is the last line. */
  end(): void;
}

/**
 * Splits a stream of bytes into lines (`\n` or `\r\n`; empty ones are nothing). Linear in the bytes whatever the
 * chunks, and it never holds more than `maxBytes`: the rest of a longer line is skipped, and the line behind it is
 * read as if nothing had been. How the stream was cut into chunks never shows.
 */
export function createFrameReader(options: FrameReaderOptions): FrameReader {
  return new Splitter(options);
}

/** From this length on, bytes, a line has memory of its own, which may be kept. */
export const LARGE_LINE_BYTES = 1_048_576;

const NEWLINE = 0x0a;
const RETURN = 0x0d;

class Splitter implements FrameReader {
  readonly #options: FrameReaderOptions;
  /** The line so far; or, of one that is too long, its first bytes. */
  readonly #line = new ByteBuffer();
  /** Set while the rest of a line that is too long is skipped. */
  #skipped: Ends | undefined;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      // The ordinary case, a line within one chunk, is neither copied nor kept.
      if (this.#line.length === 0 && this.#skipped === undefined) this.#emit(chunk.subarray(start, end));
      else {
        this.#hold(chunk.subarray(start, end));
        this.#endLine();
      }
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(start === 0 ? chunk : chunk.subarray(start));
  }

  end(): void {
    this.#endLine();
  }

  #hold(piece: Buffer): void {
    if (this.#skipped !== undefined) {
      this.#skipped.add(piece);
      return;
    }
    // One byte more is allowed until it shows whether it is the `\r` of the line ending.
    if (this.#line.length + piece.length <= this.#options.maxBytes + 1) {
      this.#line.push(piece);
      return;
    }
    const skipped = new Ends();
    skipped.add(this.#line.take());
    skipped.add(piece);
    this.#skipped = skipped;
  }

  #endLine(): void {
    const skipped = this.#skipped;
    if (skipped === undefined) {
      if (this.#line.length < LARGE_LINE_BYTES) this.#line.lend(this.#emit);
      else this.#emit(this.#line.take());
    } else {
      this.#skipped = undefined;
      skipped.report(this.#options.onTooLong);
    }
  }

  readonly #emit = (line: Buffer): void => {
    const frame = line.length > 0 && line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
    if (frame.length === 0) return;
    if (frame.length <= this.#options.maxBytes) this.#options.onFrame(frame);
    else {
      const ends = new Ends();
      ends.add(line);
      ends.report(this.#options.onTooLong);
    }
  };
}

/** What is kept of a line that is skipped. */
class Ends {
  #head = Buffer.alloc(0);
  #tail = Buffer.alloc(0);
  #bytes = 0;

  add(piece: Buffer): void {
    this.#bytes += piece.length;
    const missing = GLANCE_BYTES - this.#head.length;
    if (missing > 0) this.#head = Buffer.concat([this.#head, piece.subarray(0, missing)]);
    // One byte more than needed, for a `\r` that turns out to be the line ending.
    const kept = GLANCE_BYTES + 1;
    this.#tail = Buffer.concat([
      this.#tail.subarray(Math.max(0, this.#tail.length + Math.min(piece.length, kept) - kept)),
      piece.subarray(-kept),
    ]);
  }

  report(tell: FrameReaderOptions['onTooLong']): void {
    const ending = this.#tail.at(-1) === RETURN ? 1 : 0;
    const bytes = this.#bytes - ending;
    const tail = this.#tail.subarray(0, this.#tail.length - ending);
    tell(this.#head.subarray(0, bytes), bytes, tail.subarray(-GLANCE_BYTES));
  }
}
