import { giveBack, spareBytes } from './spare-bytes.ts';

/**
 * Bytes that arrive in pieces and are wanted as one. A single piece is kept by reference; further ones are copied into
 * a buffer that doubles, so that n bytes cost O(n) whatever the size of the pieces.
 */
export class ByteBuffer {
  #bytes: Buffer | undefined;
  #length = 0;
  #owned = false;

  get length(): number {
    return this.#length;
  }

  push(piece: Buffer): void {
    if (piece.length === 0) return;
    const bytes = this.#bytes;
    if (bytes === undefined) {
      this.#bytes = piece;
      this.#length = piece.length;
      return;
    }
    const length = this.#length + piece.length;
    if (this.#owned && length <= bytes.length) {
      piece.copy(bytes, this.#length);
    } else {
      const grown = spareBytes(Math.max(length * 2, 1024));
      bytes.copy(grown, 0, 0, this.#length);
      piece.copy(grown, this.#length);
      if (this.#owned) giveBack(bytes);
      this.#bytes = grown;
      this.#owned = true;
    }
    this.#length = length;
  }

  /** Everything so far; the buffer starts anew. */
  take(): Buffer {
    const bytes = this.#bytes;
    const length = this.#length;
    this.#bytes = undefined;
    this.#length = 0;
    this.#owned = false;
    if (bytes === undefined) return EMPTY;
    return bytes.length === length ? bytes : bytes.subarray(0, length);
  }

  /** Like `take`, for a reader that is done with the bytes when it returns: what they were copied into is used again. */
  lend(read: (bytes: Buffer) => void): void {
    const copied = this.#owned ? this.#bytes : undefined;
    try {
      read(this.take());
    } finally {
      if (copied !== undefined) giveBack(copied);
    }
  }
}

const EMPTY = Buffer.alloc(0);
