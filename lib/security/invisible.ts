/**
 * Characters that a person does not see and a model or a terminal reads: `tag` (U+E0000–E007F, hidden ASCII), `bidi`
 * (reorders what is shown), `zero-width`, `filler` (letters without ink), `variation` (selectors, which can carry
 * hidden bytes), `control`, `surrogate` (half a character).
 */
export type HiddenKind = 'tag' | 'bidi' | 'zero-width' | 'filler' | 'variation' | 'control' | 'surrogate';

const RANGES: ReadonlyArray<readonly [first: number, last: number, kind: HiddenKind]> = [
  [0x00, 0x08, 'control'],
  [0x0b, 0x0c, 'control'],
  [0x0e, 0x1f, 'control'],
  [0x7f, 0x9f, 'control'],
  [0xad, 0xad, 'zero-width'],
  [0x34f, 0x34f, 'zero-width'],
  [0x61c, 0x61c, 'bidi'],
  [0x115f, 0x1160, 'filler'],
  [0x17b4, 0x17b5, 'zero-width'],
  [0x180b, 0x180f, 'variation'],
  [0x200b, 0x200d, 'zero-width'],
  [0x200e, 0x200f, 'bidi'],
  [0x2028, 0x2029, 'control'],
  [0x202a, 0x202e, 'bidi'],
  [0x2060, 0x2065, 'zero-width'],
  [0x2066, 0x2069, 'bidi'],
  [0x206a, 0x206f, 'zero-width'],
  [0x2800, 0x2800, 'filler'],
  [0x3164, 0x3164, 'filler'],
  [0xd800, 0xdfff, 'surrogate'],
  [0xfe00, 0xfe0f, 'variation'],
  [0xfeff, 0xfeff, 'zero-width'],
  [0xffa0, 0xffa0, 'filler'],
  [0xfff0, 0xfffb, 'zero-width'],
  [0x1bca0, 0x1bca3, 'zero-width'],
  [0x1d173, 0x1d17a, 'zero-width'],
  [0xe0000, 0xe007f, 'tag'],
  [0xe0080, 0xe00ff, 'zero-width'],
  [0xe0100, 0xe01ef, 'variation'],
  [0xe01f0, 0xe0fff, 'zero-width'],
];

/** Tab, line feed and carriage return are not hidden. */
export function hiddenKind(codePoint: number): HiddenKind | undefined {
  let low = 0;
  let high = RANGES.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [first, last, kind] = RANGES[middle]!;
    if (codePoint < first) high = middle - 1;
    else if (codePoint > last) low = middle + 1;
    else return kind;
  }
  return undefined;
}

/** Nearly every text: one look at each character decides. */
const PLAIN = /^[\t\n\r\u0020-\u007e]*$/;
/** The same ranges at native speed, for texts in other scripts. */
const HIDDEN = new RegExp(
  `[${RANGES.map(([first, last]) => `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`).join('')}]`,
  'u',
);

export function hasHidden(text: string): boolean {
  return !PLAIN.test(text) && HIDDEN.test(text);
}

/** Makes hidden characters visible, `\u{200b}` for example; everything else stays. */
export function revealHidden(text: string): string {
  if (PLAIN.test(text)) return text;
  let shown = '';
  for (const character of text) {
    const codePoint = character.codePointAt(0)!;
    shown += hiddenKind(codePoint) === undefined ? character : `\\u{${codePoint.toString(16)}}`;
  }
  return shown;
}

export function withoutHidden(text: string): string {
  if (PLAIN.test(text)) return text;
  let kept = '';
  for (const character of text) if (hiddenKind(character.codePointAt(0)!) === undefined) kept += character;
  return kept;
}
