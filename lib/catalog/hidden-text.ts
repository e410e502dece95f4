/**
 * Characters that a person does not see but a model reads: C0 and C1 controls but for tab and line ends (ANSI escapes
 * begin with one), zero-width characters and direction marks, bidirectional overrides, tags U+E0000–E007F and what
 * follows them, lone surrogates (reliability §3, row 1). The joiner U+200D and the selectors U+FE00–FE0F are not
 * among them: every other emoji has one.
 */
const HIDDEN =
  // oxlint-disable-next-line no-control-regex -- control characters are what this looks for
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]|\p{Surrogate}/u;

/** Nearly every text: one look at each character decides. */
const PLAIN = /^[\t\n\r\u0020-\u007e]*$/;

/** The first hidden character of a text as `U+202E`, or nothing. Linear time. */
export function hiddenCharacter(text: string): string | undefined {
  if (PLAIN.test(text)) return undefined;
  const found = HIDDEN.exec(text);
  if (found === null) return undefined;
  const code = text.codePointAt(found.index) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
