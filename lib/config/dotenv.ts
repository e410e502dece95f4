export interface DotenvResult {
  readonly values: ReadonlyMap<string, string>;
  /** Lines that are neither empty, comment nor assignment, counted from 1. */
  readonly badLines: readonly number[];
}

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=[ \t]*/;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' };

/**
 * A dotenv file: `KEY=value`, `export KEY=value`, `#` comments; `'…'` and `` `…` `` literal, `"…"` with `\n`, `\r`,
 * `\t`, `\"`, `\\`; quoted values may span lines. The last assignment of a key holds.
 */
export function parseDotenv(text: string): DotenvResult {
  const values = new Map<string, string>();
  const badLines: number[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const match = ASSIGNMENT.exec(line);
    if (match === null) {
      if (!/^\s*(?:#|$)/.test(line)) badLines.push(i + 1);
      continue;
    }
    const [whole, key = ''] = match;
    const value = line.slice(whole.length);
    const quote = value[0];
    if (quote !== '"' && quote !== "'" && quote !== '`') {
      values.set(key, value.replace(/(?:^|\s)#.*$/, '').trim());
      continue;
    }
    const first = i;
    const quoted = readQuoted(lines, i, whole.length + 1, quote);
    if (quoted === undefined) {
      badLines.push(first + 1);
      continue;
    }
    values.set(
      key,
      quote === '"' ? quoted.text.replace(/\\([nrt"\\$])/g, (_, c: string) => ESCAPES[c] ?? c) : quoted.text,
    );
    i = quoted.lastLine;
    if (!/^\s*(?:#|$)/.test(quoted.rest)) badLines.push(i + 1);
  }
  return { values, badLines };
}

function readQuoted(
  lines: readonly string[],
  from: number,
  column: number,
  quote: string,
): { text: string; lastLine: number; rest: string } | undefined {
  const parts: string[] = [];
  for (let i = from; i < lines.length; i++) {
    const line = i === from ? (lines[i] ?? '').slice(column) : (lines[i] ?? '');
    const end = closingQuote(line, quote);
    if (end >= 0) {
      parts.push(line.slice(0, end));
      return { text: parts.join('\n'), lastLine: i, rest: line.slice(end + 1) };
    }
    parts.push(line);
  }
  return undefined;
}

function closingQuote(line: string, quote: string): number {
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '\\' && quote === '"') i++;
    else if (line[i] === quote) return i;
  }
  return -1;
}
