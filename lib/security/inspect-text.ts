import { plainText } from '../core/errors.ts';
import { hasHidden, hiddenKind, revealHidden } from './invisible.ts';
import type { HiddenKind } from './invisible.ts';

export type TextFlagKind = HiddenKind | 'ansi';

/** Something in a text that a person does not see. */
export interface TextFlag {
  readonly kind: TextFlagKind;
  readonly count: number;
  /** Where the first one stands, in UTF-16 code units. */
  readonly at: number;
  /** The surroundings of the first, made visible; at most about 80 characters. */
  readonly excerpt: string;
  /** What tag characters spell, where they spell something. */
  readonly hidden?: string;
}

export interface DefinitionFlag extends TextFlag {
  /** Where in the definition, `inputSchema.properties.path.description` for example; a flagged key ends with ` (key)`. */
  readonly path: string;
}

const MAX_DEPTH = 64;
const MAX_FLAGS = 64;
const MAX_HIDDEN = 256;
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
  const found = new Map<TextFlagKind, { count: number; at: number; hidden: string }>();
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
  return [...found].map(([kind, { count, at, hidden }]) => ({
    kind,
    count,
    at,
    excerpt: plainText(revealHidden(text.slice(Math.max(0, at - AROUND), at + AROUND))),
    ...(hidden === '' ? {} : { hidden }),
  }));
}

function note(
  found: Map<TextFlagKind, { count: number; at: number; hidden: string }>,
  kind: TextFlagKind,
  at: number,
  codePoint: number,
): void {
  const entry = found.get(kind) ?? { count: 0, at, hidden: '' };
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
  /** Texts, keys and values. */
  nodes: number;
  /** Characters of texts with something hidden, which are looked at one by one. */
  characters: number;
}

export function inspectionBudget(): InspectionBudget {
  return { nodes: 1_000_000, characters: 100_000 };
}

/** Where a value stands; spelled out only where something was found. */
interface Place {
  readonly of: Place | undefined;
  readonly key: string;
  readonly inArray: boolean;
}

/**
 * Looks at every text and key of a definition before it is shown for the first time: at most 64 levels deep, at most 64
 * flags, and no further than the budget goes. Linear time. Nothing found, nothing wrong.
 */
export function inspectDefinition(
  definition: unknown,
  budget: InspectionBudget = inspectionBudget(),
): readonly DefinitionFlag[] {
  const flags: DefinitionFlag[] = [];
  walk(definition, undefined, 0, flags, budget);
  return flags;
}

function walk(
  value: unknown,
  place: Place | undefined,
  depth: number,
  flags: DefinitionFlag[],
  budget: InspectionBudget,
): void {
  if (flags.length >= MAX_FLAGS || budget.nodes <= 0) return;
  budget.nodes -= 1;
  if (typeof value === 'string') {
    look(value, place, '', flags, budget);
    return;
  }
  if (typeof value !== 'object' || value === null || depth === MAX_DEPTH) return;
  const inArray = Array.isArray(value);
  for (const key in value) {
    const inner = { of: place, key, inArray };
    if (!inArray) look(key, inner, ' (key)', flags, budget);
    walk((value as Readonly<Record<string, unknown>>)[key], inner, depth + 1, flags, budget);
  }
}

function look(
  text: string,
  place: Place | undefined,
  suffix: string,
  flags: DefinitionFlag[],
  budget: InspectionBudget,
): void {
  if (!hasHidden(text) || budget.characters <= 0) return;
  const found = inspectText(text.slice(0, budget.characters));
  budget.characters -= text.length;
  for (const flag of found) flags.push({ path: `${pathOf(place)}${suffix}`, ...flag });
}

function pathOf(place: Place | undefined): string {
  if (place === undefined) return '';
  const { of, key, inArray } = place;
  const name = plainText(revealHidden(key), 128);
  const before = pathOf(of);
  if (inArray) return `${before}[${name}]`;
  return before === '' ? name : `${before}.${name}`;
}
