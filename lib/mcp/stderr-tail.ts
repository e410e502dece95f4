/**
 * The last bytes a process wrote to stderr. It is written to as long as the process lives, so that a talkative server
 * never blocks on a full pipe, and holds `limit` bytes at most.
 */
export class StderrTail {
  readonly #limit: number;
  #ring: Buffer | undefined;
  #next = 0;
  #full = false;
  #listener: ((chunk: Buffer) => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  write(chunk: Buffer): void {
    this.#listener?.(chunk);
    if (this.#limit <= 0 || chunk.length === 0) return;
    const ring = (this.#ring ??= Buffer.allocUnsafe(this.#limit));
    const kept = chunk.length > ring.length ? chunk.subarray(-ring.length) : chunk;
    const behind = ring.length - this.#next;
    kept.copy(ring, this.#next, 0, Math.min(kept.length, behind));
    if (kept.length > behind) kept.copy(ring, 0, behind);
    if (kept.length >= behind) this.#full = true;
    this.#next = (this.#next + kept.length) % ring.length;
  }

  /** Hears every chunk from now on; one listener at a time. It must not throw. */
  listen(listener: ((chunk: Buffer) => void) | undefined): void {
    this.#listener = listener;
  }

  /** What is kept, as text without the character that was cut in two at its start. */
  text(): string {
    const ring = this.#ring;
    if (ring === undefined) return '';
    if (!this.#full) return ring.toString('utf8', 0, this.#next);
    const bytes = Buffer.concat([ring.subarray(this.#next), ring.subarray(0, this.#next)]);
    let start = 0;
    // At most three continuation bytes follow the first byte of a character.
    while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
    return bytes.toString('utf8', start);
  }
}
