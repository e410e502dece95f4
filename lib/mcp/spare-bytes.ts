/**
 * Memory of large messages that have been read or written, for the next one: memory fresh from the system costs more than
 * all the rest of handling 100 kB (`Buffer.allocUnsafe` of 200 kB and the copy into it 140 µs on Node 20, the copy alone
 * 1.5 µs). Of the whole process.
 */
const spares: Buffer[] = [];
/** Smaller ones are cheap to make, larger ones are not worth keeping; bytes. */
const MIN_BYTES = 65_536;
const MAX_BYTES = 2_097_152;
/** All that lie idle together, bytes. */
const KEPT_BYTES = 4_194_304;
/** What waits in a much larger buffer would hold much more memory than it counts for. */
const MOST_TIMES = 4;
let kept = 0;

/** A buffer of at least `length` bytes and at most four times as many, with anything in it. */
export function spareBytes(length: number): Buffer {
  for (let i = spares.length - 1; i >= 0; i -= 1) {
    const spare = spares[i] as Buffer;
    if (spare.length < length || spare.length > length * MOST_TIMES) continue;
    spares.splice(i, 1);
    kept -= spare.length;
    return spare;
  }
  return Buffer.allocUnsafe(length);
}

/** Nobody reads or writes `bytes` any more, nor any part of them. */
export function giveBack(bytes: Buffer): void {
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) return;
  // The oldest goes: it may be of a size that nobody asks for any more.
  for (let oldest = spares[0]; oldest !== undefined && kept + bytes.length > KEPT_BYTES; oldest = spares[0]) {
    spares.shift();
    kept -= oldest.length;
  }
  kept += bytes.length;
  spares.push(bytes);
}
