/** Longest exposed name: what the APIs of the large model vendors accept for a tool. */
export const MAX_NAME = 64;
/** Between server and name, as in Claude Code, mcp-use and LangChain. */
export const SEPARATOR = '__';
/** 48 of the 64 bits: at 100,000 shortened names two meet with a probability of 2·10⁻⁵, and then are told apart. */
const HASH_DIGITS = 12;
/** A long server name is cut before the tool name is, but not below this. */
const MIN_SERVER_PART = 20;

const FITS = /^[A-Za-z0-9_-]{1,64}$/;
const ASCII = /^[\u0020-\u007e]*$/;

/** At most 64 characters of `[A-Za-z0-9_-]`, and not empty. */
export function fitsModels(name: string): boolean {
  return name.length <= MAX_NAME && FITS.test(name);
}

/**
 * What two names that look alike have in common: Unicode NFKC, then case folded (`ẞ`, `ß`, `SS` are one). Used to
 * compare, never to show.
 */
export function foldName(name: string): string {
  if (ASCII.test(name)) return name.toLowerCase();
  // Lower first: `ẞ` is upper case already, and only `ß` becomes `SS`.
  return name.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase().normalize('NFKC');
}

/** The readable rest of a name: what is outside `[A-Za-z0-9_-]` becomes one `_` a run. */
export function readablePart(name: string): string {
  if (FITS.test(name)) return name;
  // Cut before normalising: a hostile name may be megabytes long.
  return name
    .slice(0, 2 * MAX_NAME)
    .normalize('NFKC')
    .replace(/[^A-Za-z0-9_-]+/g, '_')
    .slice(0, MAX_NAME);
}

/** `server__name` cut to size, with a hash of both. `salt` above 0 gives further names of the same holder. */
export function hashedName(server: string, original: string, salt = 0): string {
  const room = MAX_NAME - HASH_DIGITS - 1 - SEPARATOR.length;
  const name = readablePart(original);
  const left = readablePart(server).slice(0, Math.max(MIN_SERVER_PART, room - name.length));
  return `${left}${SEPARATOR}${name.slice(0, room - left.length)}_${holderHash(server, original, salt)}`;
}

/** `base` cut to size, with the hash of its holder. */
export function withHash(base: string, server: string, original: string, salt = 0): string {
  const room = MAX_NAME - HASH_DIGITS - 1;
  return `${readablePart(base).slice(0, room)}_${holderHash(server, original, salt)}`;
}

function holderHash(server: string, original: string, salt: number): string {
  // The length in front keeps `a__b` + `c` and `a` + `b__c` apart.
  return fnv1a64(`${salt}:${server.length}:${server}${original}`).slice(-HASH_DIGITS);
}

/**
 * FNV-1a, 64 bits, over the UTF-16 code units (two bytes each), as 16 hexadecimal digits; the same on every machine
 * and in every run. It tells names apart, it protects nothing: who can choose names can make two meet, and then the
 * later one gets another hash.
 */
export function fnv1a64(text: string): string {
  // Two halves of 32 bits: the prime is 2^40 + 0x1b3, so a product stays below 2^53.
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    for (let shift = 0; shift <= 8; shift += 8) {
      low = (low ^ ((unit >>> shift) & 0xff)) >>> 0;
      const product = low * 0x1b3;
      const carry = Math.floor(product / 0x1_0000_0000);
      high = (high * 0x1b3 + carry + ((low << 8) >>> 0)) % 0x1_0000_0000;
      low = product >>> 0;
    }
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** A foreign name for an error text or a report: quoted, at most 80 characters, nothing invisible in it. */
export function quoted(name: string): string {
  const cut = name.length > 80 ? `${name.slice(0, 79)}…` : name;
  return JSON.stringify(cut).replace(
    /[\p{Cf}\p{Co}\u2028\u2029]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
