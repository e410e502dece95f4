/**
 * Characters that a person does not see but a model reads: C0 and C1 controls but for tab and line ends (ANSI escapes
 * begin with one), zero-width and joining characters, bidirectional overrides, variation selectors beyond emoji,
 * tags U+E0000–E007F, lone surrogates (reliability §3, row 1).
 */
const HIDDEN =
  // oxlint-disable-next-line no-control-regex -- control characters are what this looks for
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]|\p{Surrogate}/u;

/** The first hidden character of a text as `U+202E`, or nothing. Linear time. */
export function hiddenCharacter(text: string): string | undefined {
  const found = HIDDEN.exec(text);
  if (found === null) return undefined;
  const code = text.codePointAt(found.index) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
