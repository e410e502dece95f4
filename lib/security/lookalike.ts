import { withoutHidden, revealHidden } from './invisible.ts';

/** A tool, or a server itself where `name` is absent. */
export interface Named {
  readonly server: string;
  readonly name?: string | undefined;
}

/**
 * `confusable`: looks like a name of another server without being equal. `prefix`: a tool whose name begins with the name of another
 * server, so that it reads as that one's. `hidden`: holds characters that nobody sees.
 */
export interface Lookalike {
  readonly kind: 'confusable' | 'prefix' | 'hidden';
  readonly suspect: Named;
  /** What it looks like; absent for `hidden`. */
  readonly resembles?: Named;
  /** One sentence for a person, hidden characters shown. */
  readonly reason: string;
}

/** Letters of other scripts and digits that are drawn like Latin letters (a small part of Unicode TR39). */
const CONFUSABLE: ReadonlyMap<string, string> = new Map(
  [
    ['a', 'аαаɑ'],
    ['b', 'ьЬβ'],
    ['c', 'сϲⅽ'],
    ['d', 'ԁⅾ'],
    ['e', 'еєεҽ'],
    ['g', 'ɡց'],
    ['h', 'һհ'],
    ['i', 'іιıɩ'],
    ['j', 'јϳ'],
    ['k', 'κк'],
    ['l', '1ӏ|ⅼǀ'],
    ['m', 'мⅿ'],
    ['n', 'ոη'],
    ['o', '0оοօσ'],
    ['p', 'рρ'],
    ['q', 'ԛգ'],
    ['r', 'гᴦ'],
    ['s', 'ѕ'],
    ['t', 'тτ'],
    ['u', 'υսʋ'],
    ['v', 'νѵⅴ'],
    ['w', 'ѡԝωա'],
    ['x', 'хχⅹ'],
    ['y', 'уүγ'],
    ['z', 'ᴢ'],
  ].flatMap(([latin, others]) => Array.from(others!).map((other) => [other, latin!] as const)),
);
/** Pairs that are drawn like one letter. */
const PAIRS: ReadonlyArray<readonly [string, string]> = [
  ['rn', 'm'],
  ['vv', 'w'],
];
const MAX_NAME = 256;
/** Names as nearly all are: nothing hidden, no accents, no other scripts. */
const ASCII = /^[\x20-\x7e]*$/;
/** Reports per server; who has more of them is known by then. */
const MAX_REPORTS = 100;

/**
 * What names that are drawn alike have in common: NFKC, hidden characters and accents dropped, case folded, look-alike
 * letters made Latin, separators dropped. To compare, never to show.
 */
export function skeletonOf(name: string): string {
  const short = name.length > MAX_NAME ? name.slice(0, MAX_NAME) : name;
  let skeleton = ASCII.test(short) ? plainSkeleton(short) : foreignSkeleton(short);
  for (const [pair, letter] of PAIRS)
    if (skeleton.includes(pair)) skeleton = skeleton.replaceAll(pair, letter);
  return skeleton;
}

function plainSkeleton(name: string): string {
  const bare = name.toLowerCase().replace(/[\s_\-./:]/g, '');
  return /[01|]/.test(bare) ? bare.replace(/[1|]/g, 'l').replace(/0/g, 'o') : bare;
}

function foreignSkeleton(name: string): string {
  const folded = withoutHidden(name).normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKD');
  let skeleton = '';
  for (const character of folded) {
    if (/[\p{M}\s_\-./:]/u.test(character)) continue;
    skeleton += CONFUSABLE.get(character) ?? character;
  }
  return skeleton;
}

/**
 * Keeps watch over the names of all servers and their tools, and tells those that could be taken for another server's. What
 * was there first is what is resembled. Equal names are no matter of looks, and the catalog keeps them apart. Each finding
 * is told once; the work is linear in the names that are new. Nothing is decided here: names lead where they led.
 */
export interface LookalikeWatch {
  /** A server is configured. */
  added(server: string): readonly Lookalike[];
  /** What a server lists now, in place of what it listed before. */
  listed(server: string, tools: Iterable<string>): readonly Lookalike[];
  forget(server: string): void;
}

export function createLookalikeWatch(): LookalikeWatch {
  return new Watch();
}

interface Known {
  readonly server: string;
  readonly name: string;
  readonly skeleton: string;
  /** As `server__name` would be read. */
  readonly exposed: string;
  /** The part before the first separator, where there is one. */
  readonly prefix: string | undefined;
}

class Watch implements LookalikeWatch {
  /** By skeleton, in order of coming. */
  readonly #servers = new Map<string, string[]>();
  readonly #tools = new Map<string, Map<string, Known>>();
  readonly #bySkeleton = new SkeletonIndex();
  readonly #byExposed = new Index((known) => known.exposed);
  readonly #byPrefix = new Index((known) => known.prefix);
  readonly #told = new Map<string, Set<string>>();

  added(server: string): readonly Lookalike[] {
    const skeleton = skeletonOf(server);
    const same = this.#servers.get(skeleton) ?? [];
    if (same.includes(server)) return [];
    const found: Lookalike[] = [];
    const [first] = same;
    if (first !== undefined) found.push(confusable({ server }, { server: first }));
    if (withoutHidden(server) !== server) found.push(hidden({ server }));
    // Of a server that looks like another nothing more is to be said: those names were told of the other.
    for (const suspect of first === undefined ? this.#byPrefix.get(skeleton) : NOBODY)
      if (suspect.server !== server) found.push(prefixed(suspect, { server }));
    this.#servers.set(skeleton, [...same, server]);
    return this.#news(found);
  }

  listed(server: string, tools: Iterable<string>): readonly Lookalike[] {
    const names: ReadonlySet<string> = tools instanceof Set ? tools : new Set(tools);
    const before = this.#tools.get(server);
    if (before !== undefined && areThese(before, names)) return [];
    const now = new Map<string, Known>();
    const fresh: Known[] = [];
    const base = skeletonOf(server);
    for (const name of names) {
      const old = before?.get(name);
      const known = old ?? knownOf(server, base, name);
      now.set(name, known);
      if (old === undefined) fresh.push(known);
    }
    for (const [name, gone] of before ?? []) if (!now.has(name)) this.#drop(gone);
    this.#tools.set(server, now);
    const found: Lookalike[] = [];
    for (const known of fresh) {
      this.#judge(known, base, found);
      this.#bySkeleton.add(known);
      this.#byExposed.add(known);
      this.#byPrefix.add(known);
    }
    return this.#news(found);
  }

  forget(server: string): void {
    for (const known of this.#tools.get(server)?.values() ?? []) this.#drop(known);
    this.#tools.delete(server);
    this.#told.delete(server);
    const skeleton = skeletonOf(server);
    const left = (this.#servers.get(skeleton) ?? []).filter((other) => other !== server);
    if (left.length === 0) this.#servers.delete(skeleton);
    else this.#servers.set(skeleton, left);
  }

  #drop(known: Known): void {
    this.#bySkeleton.remove(known);
    this.#byExposed.remove(known);
    this.#byPrefix.remove(known);
  }

  #judge(suspect: Known, base: string, found: Lookalike[]): void {
    const { server, name, skeleton, exposed, prefix } = suspect;
    const like = this.#bySkeleton.likeButNot(suspect);
    if (like !== undefined) found.push(confusable(suspect, like));
    const owner =
      prefix === undefined ? undefined : this.#servers.get(prefix)?.find((other) => other !== server);
    const whole = this.#byExposed.get(skeleton).find((other) => other.server !== server);
    if (owner !== undefined) found.push(prefixed(suspect, { server: owner }));
    else if (whole !== undefined) found.push(prefixed(suspect, whole));
    // The other way round: what was there before reads as what has just come.
    for (const earlier of this.#bySkeleton.all(exposed))
      if (earlier.server !== server && earlier.prefix !== base) found.push(prefixed(earlier, suspect));
    if (withoutHidden(name) !== name) found.push(hidden(suspect));
  }

  #news(found: readonly Lookalike[]): readonly Lookalike[] {
    return found.filter(({ suspect, reason }) => {
      let told = this.#told.get(suspect.server);
      if (told === undefined) {
        told = new Set();
        this.#told.set(suspect.server, told);
      }
      if (told.has(reason) || told.size >= MAX_REPORTS) return false;
      told.add(reason);
      return true;
    });
  }
}

function areThese(known: ReadonlyMap<string, Known>, names: ReadonlySet<string>): boolean {
  if (known.size !== names.size) return false;
  for (const name of names) if (!known.has(name)) return false;
  return true;
}

/** Nearly every key has one holder: no list for those. */
class Index {
  readonly #entries = new Map<string, Known | Known[]>();
  readonly #keyOf: (known: Known) => string | undefined;

  constructor(keyOf: (known: Known) => string | undefined) {
    this.#keyOf = keyOf;
  }

  get(key: string): readonly Known[] {
    const held = this.#entries.get(key);
    return held === undefined ? NOBODY : Array.isArray(held) ? held : [held];
  }

  add(known: Known): void {
    const key = this.#keyOf(known);
    if (key === undefined) return;
    const held = this.#entries.get(key);
    if (held === undefined) this.#entries.set(key, known);
    else if (Array.isArray(held)) held.push(known);
    else this.#entries.set(key, [held, known]);
  }

  remove(known: Known): void {
    const key = this.#keyOf(known);
    if (key === undefined) return;
    const left = this.get(key).filter((other) => other !== known);
    const [only] = left;
    if (only === undefined) this.#entries.delete(key);
    else this.#entries.set(key, left.length === 1 ? only : left);
  }
}

/** By name, then by server. */
type Holders = Map<string, Map<string, Known>>;

/**
 * By skeleton. Nearly every skeleton has one holder: no maps for those. Where a thousand servers have a tool of one name,
 * they are passed over at once.
 */
class SkeletonIndex {
  readonly #entries = new Map<string, Known | Holders>();

  /** Who was first of those with another name on another server. */
  likeButNot({ skeleton, server, name }: Known): Known | undefined {
    const held = this.#entries.get(skeleton);
    if (!(held instanceof Map)) return held?.server === server || held?.name === name ? undefined : held;
    for (const [other, holders] of held) {
      if (other === name) continue;
      for (const holder of holders.values()) if (holder.server !== server) return holder;
    }
    return undefined;
  }

  *all(skeleton: string): Iterable<Known> {
    const held = this.#entries.get(skeleton);
    if (!(held instanceof Map)) {
      if (held !== undefined) yield held;
      return;
    }
    for (const holders of held.values()) yield* holders.values();
  }

  add(known: Known): void {
    const held = this.#entries.get(known.skeleton);
    if (held === undefined) {
      this.#entries.set(known.skeleton, known);
      return;
    }
    let holders: Holders;
    if (held instanceof Map) holders = held;
    else {
      holders = new Map([[held.name, new Map([[held.server, held]])]]);
      this.#entries.set(known.skeleton, holders);
    }
    const named = holders.get(known.name);
    if (named === undefined) holders.set(known.name, new Map([[known.server, known]]));
    else named.set(known.server, known);
  }

  remove({ skeleton, name, server }: Known): void {
    const held = this.#entries.get(skeleton);
    if (held instanceof Map) {
      const named = held.get(name);
      named?.delete(server);
      if (named?.size === 0) held.delete(name);
      if (held.size > 0) return;
    }
    this.#entries.delete(skeleton);
  }
}

const NOBODY: readonly Known[] = [];

/** `github__create_issue` on another server than github, and `githubcreateissue` where github has a `create_issue`. */
function knownOf(server: string, base: string, name: string): Known {
  const skeleton = skeletonOf(name);
  const split = name.search(/__|[/:.]/);
  const prefix = split <= 0 ? undefined : skeletonOf(name.slice(0, split));
  return { server, name, skeleton, exposed: `${base}${skeleton}`, prefix };
}

function confusable(suspect: Named, resembles: Named): Lookalike {
  return {
    kind: 'confusable',
    suspect: namedOf(suspect),
    resembles: namedOf(resembles),
    reason: `${shown(suspect)} looks like ${shown(resembles)}`,
  };
}

function prefixed(suspect: Named, resembles: Named): Lookalike {
  return {
    kind: 'prefix',
    suspect: namedOf(suspect),
    resembles: namedOf(resembles),
    reason:
      resembles.name === undefined
        ? `${shown(suspect)} reads as if it belonged to ${shown(resembles)}`
        : `${shown(suspect)} reads as ${shown(resembles)}`,
  };
}

function hidden(suspect: Named): Lookalike {
  return {
    kind: 'hidden',
    suspect: namedOf(suspect),
    reason: `${shown(suspect)} holds characters that nobody sees`,
  };
}

function namedOf({ server, name }: Named): Named {
  return name === undefined ? { server } : { server, name };
}

function shown({ server, name }: Named): string {
  return name === undefined
    ? `server "${revealHidden(server)}"`
    : `"${revealHidden(name)}" of ${revealHidden(server)}`;
}
