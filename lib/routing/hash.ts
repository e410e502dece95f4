/** 32-bit hashes for routing: fast, equal on every machine and over restarts, not for security. */

/** Murmur3's finalizer: every input bit changes every output bit with probability ½. */
export function mix32(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a over UTF-16 code units, then mixed: FNV alone leaves the high bits of short keys alike. */
export function hash32(text: string, seed = 0x811c9dc5): number {
  let h = seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    h = Math.imul(h ^ (unit & 0xff), 0x01000193);
    h = Math.imul(h ^ (unit >>> 8), 0x01000193);
  }
  return mix32(h);
}

/** The score of a replica for a key (rendezvous): both already hashed. */
export function score32(key: number, replica: number): number {
  return mix32(mix32(key ^ 0x9e3779b9) ^ replica);
}

/** Two independent 32-bit hashes as 16 hexadecimal digits, where equality should mean equality. */
export function hash64(text: string): string {
  const a = hash32(text);
  const b = hash32(text, 0x2f0b4c47);
  return a.toString(16).padStart(8, '0') + b.toString(16).padStart(8, '0');
}
