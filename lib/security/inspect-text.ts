import { plainText } from '../core/errors.ts';
import { hasHidden, hiddenKind, revealHidden } from './invisible.ts';
import type { HiddenKind } from './invisible.ts';

export type TextFlagKind = HiddenKind | 'ansi';

/** Something in a text that a person does not see. */
export interface TextFlag {
  readonly kind: TextFlagKind;
  readonly count: number;
  /** Where the first one stands, in UTF-16 code units. */
  readonly offset: number;
  /** The surroundings of the first, made visible; at most about 80 characters. */
  readonly excerpt: string;
  /** What tag characters spell, where they spell something. */
  readonly hidden?: string;
}

export interface DefinitionFlag extends Omit<TextFlag, 'kind'> {
  /**
   * Where in the definition, `inputSchema.properties.path.description` for example; a flagged key ends with ` (key)`. At most
   * about 600 characters: of a long one the end.
   */
  readonly path: string;
  /** `unchecked`: from here on nothing more was looked at, since there is too much of it. */
  readonly kind: TextFlagKind | 'unchecked';
}

/** Deeper than any message may be by default (`limits.depth`). */
const MAX_DEPTH = 1_000;
const MAX_FLAGS = 64;
const MAX_HIDDEN = 256;
const MAX_KEY = 128;
const MAX_PATH = 512;
/** Characters of a key that are looked at for what is shown of it. */
const MAX_KEY_READ = 1_024;
const AROUND = 24;
const ZWNJ = 0x200c;
const ZWJ = 0x200d;
const BLACK_FLAG = 0x1f3f4;
const CANCEL_TAG = 0xe007f;
const EMOJI_SELECTOR = 0xfe0f;
const TEXT_SELECTOR = 0xfe0e;
const ESCAPE = 0x1b;
const CSI = 0x9b;

/** Scripts that need joiners to be written properly. */
const JOINING =
  /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}]/u;
const PICTURE = /[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}]/u;

/** One flag for each kind that occurs. Emoji, flags of regions and the joiners of Arabic and Indic scripts are in order. */
export function inspectText(text: string): readonly TextFlag[] {
  if (!hasHidden(text)) return [];
  const found = new Map<TextFlagKind, { count: number; offset: number; hidden: string }>();
  let before = 0;
  for (let at = 0; at < text.length;) {
    const codePoint = text.codePointAt(at)!;
    const width = codePoint > 0xffff ? 2 : 1;
    const kind = hiddenKind(codePoint);
    const region = kind === 'tag' && before === BLACK_FLAG ? regionLength(text, at) : 0;
    if (region > 0) {
      at += region;
      before = CANCEL_TAG;
      continue;
    }
    if (kind !== undefined && !isInOrder(codePoint, before, text.codePointAt(at + width))) {
      note(found, codePoint === ESCAPE || codePoint === CSI ? 'ansi' : kind, at, codePoint);
    }
    before = codePoint;
    at += width;
  }
  return [...found].map(([kind, { count, offset, hidden }]) => ({
    kind,
    count,
    offset,
    excerpt: plainText(revealHidden(text.slice(Math.max(0, offset - AROUND), offset + AROUND))),
    ...(hidden === '' ? {} : { hidden }),
  }));
}

function note(
  found: Map<TextFlagKind, { count: number; offset: number; hidden: string }>,
  kind: TextFlagKind,
  at: number,
  codePoint: number,
): void {
  const entry = found.get(kind) ?? { count: 0, offset: at, hidden: '' };
  entry.count++;
  const ascii = codePoint - 0xe0000;
  if (kind === 'tag' && ascii >= 0x20 && ascii < 0x7f && entry.hidden.length < MAX_HIDDEN) {
    entry.hidden += String.fromCharCode(ascii);
  }
  found.set(kind, entry);
}

/** England, Scotland, Wales: a black flag, three to six tag letters or digits and the cancel tag. Code units, or 0. */
function regionLength(text: string, from: number): number {
  let at = from;
  for (let letters = 0; letters <= 6; letters++) {
    const codePoint = text.codePointAt(at) ?? 0;
    at += 2;
    if (codePoint === CANCEL_TAG) return letters >= 3 ? at - from : 0;
    const ascii = String.fromCharCode(Math.max(0, codePoint - 0xe0000));
    if (codePoint < 0xe0000 || !/[a-z0-9]/.test(ascii)) return 0;
  }
  return 0;
}

function isInOrder(codePoint: number, before: number, after: number | undefined): boolean {
  switch (codePoint) {
    case ZWJ:
    case ZWNJ: {
      const [left, right] = [
        String.fromCodePoint(before),
        after === undefined ? '' : String.fromCodePoint(after),
      ];
      if (JOINING.test(left) && (right === '' || JOINING.test(right) || /\s/.test(right))) return true;
      return (
        codePoint === ZWJ && PICTURE.test(left) && before !== ZWJ && /\p{Extended_Pictographic}/u.test(right)
      );
    }
    case EMOJI_SELECTOR:
    case TEXT_SELECTOR:
      return PICTURE.test(String.fromCodePoint(before)) || /[0-9#*]/.test(String.fromCodePoint(before));
    default:
      return false;
  }
}

/** What may be looked at, over any number of definitions: a server may send as much as its limits let through. */
export interface InspectionBudget {
  /** Texts, keys and values; what is spelled out of paths counts by its length. */
  nodes: number;
  /** Characters of texts in which something may be hidden: those are looked at one by one. */
  characters: number;
}

/** Used up in 20 to 110 ms, whatever a list is made of; 500,000 keys of one object take 300 (2 cores, Node 20). */
export function inspectionBudget(): InspectionBudget {
  return { nodes: 1_000_000, characters: 1_000_000 };
}

/**
 * Looks at every text and key of a definition before it is shown for the first time. Where the budget or the depth ends, or
 * after 64 flags, the last one says that the rest is unchecked. Linear time. Nothing found, nothing wrong.
 *
 * `clean` takes secrets out of a text before any of it is quoted: an excerpt could cut one in pieces that nobody recognises.
 */
export function inspectDefinition(
  definition: unknown,
  budget: InspectionBudget = inspectionBudget(),
  clean: (text: string) => string = unchanged,
): readonly DefinitionFlag[] {
  const inspection = new Inspection(budget, clean);
  inspection.walk(definition, undefined, 0);
  return inspection.flags;
}

/** No longer than `length`, and no half character at its end. */
function beginning(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}

const unchanged = (text: string): string => text;

/** Where a value stands; spelled out only where something was found. */
interface Place {
  readonly of: Place | undefined;
  readonly key: string | number;
}

class Inspection {
  readonly flags: DefinitionFlag[] = [];
  readonly #budget: InspectionBudget;
  readonly #clean: (text: string) => string;
  #over = false;

  constructor(budget: InspectionBudget, clean: (text: string) => string) {
    this.#budget = budget;
    this.#clean = clean;
  }

  walk(value: unknown, place: Place | undefined, depth: number): void {
    if (this.#isOver(place, depth)) return;
    this.#budget.nodes -= 1;
    if (typeof value === 'string') this.#look(value, place, '');
    else if (Array.isArray(value)) {
      for (let i = 0; i < value.length && !this.#over; i += 1)
        this.walk(value[i], { of: place, key: i }, depth + 1);
    } else if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        const inner = { of: place, key };
        this.#budget.nodes -= 1;
        this.#look(key, inner, ' (key)');
        this.walk((value as Readonly<Record<string, unknown>>)[key], inner, depth + 1);
        if (this.#over) return;
      }
    }
  }

  #isOver(place: Place | undefined, depth: number): boolean {
    if (this.#over) return true;
    const { nodes, characters } = this.#budget;
    if (nodes > 0 && characters > 0 && depth <= MAX_DEPTH && this.flags.length < MAX_FLAGS) return false;
    this.#over = true;
    this.flags.push({ path: this.#pathOf(place), kind: 'unchecked', count: 1, offset: 0, excerpt: '' });
    return true;
  }

  #look(text: string, place: Place | undefined, suffix: string): void {
    if (!hasHidden(text)) return;
    const left = this.#budget.characters;
    this.#budget.characters -= text.length;
    const read = text.length <= left ? text : beginning(text, left);
    const cleaned = this.#clean(read);
    let found = inspectText(cleaned);
    // What was hidden in a secret is told without a word of it.
    if (found.length === 0 && cleaned !== read)
      found = inspectText(read).map(({ kind, count, offset }) => ({ kind, count, offset, excerpt: '' }));
    if (found.length > 0) {
      const path = `${this.#pathOf(place)}${suffix}`;
      for (const flag of found) this.flags.push({ path, ...flag });
    }
    this.#isOver(place, 0);
  }

  #pathOf(place: Place | undefined): string {
    let path = '';
    for (let at = place; at !== undefined; at = at.of) {
      if (path.length > MAX_PATH) return `…${path}`;
      const { key } = at;
      this.#budget.nodes -= typeof key === 'number' ? 1 : 1 + Math.min(key.length, MAX_KEY_READ);
      const next = path === '' || path.startsWith('[') ? path : `.${path}`;
      path = typeof key === 'number' ? `[${key}]${next}` : `${this.#shown(key)}${next}`;
    }
    return path;
  }

  #shown(key: string): string {
    return plainText(revealHidden(this.#clean(key.slice(0, MAX_KEY_READ))), MAX_KEY);
  }
}
