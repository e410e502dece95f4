import { revealHidden } from './invisible.ts';

/** Longest text kept of one definition, in characters. */
export const MAX_DEFINITION_TEXT = 32_768;
const MAX_LINE = 160;

/**
 * A definition as a person should read it before approving: JSON over many lines, long texts broken at their own line
 * ends and sentences (so that one changed sentence is one changed line), hidden characters shown.
 */
export function readableDefinition(definition: unknown): string {
  const text = JSON.stringify(definition, sortKeys, 2) ?? '';
  const lines = revealHidden(text.slice(0, MAX_DEFINITION_TEXT))
    .split('\n')
    .flatMap((line) => (line.length <= MAX_LINE && !line.includes('\\n') ? [line] : broken(line)));
  if (text.length > MAX_DEFINITION_TEXT) lines.push(`… ${text.length - MAX_DEFINITION_TEXT} more characters`);
  return lines.join('\n');
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Pieces of a long line: after `\n`, after a sentence, and at the latest after 160 characters. */
function broken(line: string): string[] {
  const indent = ' '.repeat(line.length - line.trimStart().length + 2);
  const pieces: string[] = [];
  let from = 0;
  for (let at = 0; at < line.length; at++) {
    const lineEnd = line[at] === 'n' && line[at - 1] === '\\' && line[at - 2] !== '\\';
    const sentenceEnd = line[at] === ' ' && /[.!?:;]/.test(line[at - 1] ?? '');
    if (!lineEnd && !sentenceEnd && at - from < MAX_LINE) continue;
    pieces.push(line.slice(from, at + 1));
    from = at + 1;
  }
  pieces.push(line.slice(from));
  return pieces.filter((piece) => piece !== '').map((piece, i) => (i === 0 ? piece : indent + piece));
}
