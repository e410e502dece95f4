/** Longest pattern accepted, in characters; matching costs at most text × pattern steps. */
export const MAX_GLOB_LENGTH = 512;

export type Matcher = (text: string) => boolean;

export interface GlobOptions {
  /**
   * `name`: `*` is any run of characters, `?` any one character.
   * `path`: `*` stops at `/` and `**` does not; a `**` between or after slashes may stand for no directory at all, so that
   * whoever names what lies below `a` also names `a`. `?` is an ordinary character: a query can be written as it is.
   */
  readonly kind: 'name' | 'path';
}

/** Wildcards among the code units of a pattern. */
const STAR = -1;
const GLOBSTAR = -2;
const ONE = -3;
/** The rest of the pattern may be missing: stands before a slash and two asterisks at the end. */
const MAYBE_END = -4;
/** Directories may be missing: what follows, a `DIRECTORIES`, is optional. */
const MAYBE_SKIP = -5;
/** Any run that ends with `/`. */
const DIRECTORIES = -6;

const SLASH = 47;
const BACKSLASH = 92;
const ASTERISK = 42;
const QUESTION = 63;

/**
 * Compiles a glob into a function that needs time linear in the text: nothing is turned into a regular expression, so
 * no pattern of a configuration can be made to hang. `\` takes the next character as it is. Throws a `SyntaxError`.
 */
export function compileGlob(pattern: string, options: GlobOptions): Matcher {
  if (pattern === '') throw new SyntaxError('the pattern is empty');
  if (pattern.length > MAX_GLOB_LENGTH)
    throw new SyntaxError(`the pattern is longer than ${MAX_GLOB_LENGTH} characters`);
  const tokens = tokenize(pattern, options.kind);
  return shortcut(tokens) ?? automaton(tokens);
}

/** One matcher for a list: text matches when one of the patterns does. */
export function compileGlobs(patterns: readonly string[], options: GlobOptions): Matcher {
  const matchers = patterns.map((pattern) => compileGlob(pattern, options));
  const literals = patterns.map((pattern) => literalOf(tokenize(pattern, options.kind)));
  const [only] = matchers;
  if (only !== undefined && matchers.length === 1) return only;
  const exact = new Set(literals.filter((literal) => literal !== undefined));
  const rest = matchers.filter((_, i) => literals[i] === undefined);
  return (text) => {
    if (exact.has(text)) return true;
    for (let i = 0; i < rest.length; i++) if (rest[i]!(text)) return true;
    return false;
  };
}

function tokenize(pattern: string, kind: 'name' | 'path'): number[] {
  const tokens: number[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const unit = pattern.charCodeAt(i);
    if (unit === BACKSLASH) {
      i++;
      if (i === pattern.length) throw new SyntaxError('the pattern ends with a lone backslash');
      tokens.push(pattern.charCodeAt(i));
    } else if (unit === QUESTION && kind === 'name') {
      tokens.push(ONE);
    } else if (unit === ASTERISK) {
      const from = i;
      while (pattern.charCodeAt(i + 1) === ASTERISK) i++;
      if (kind === 'name') tokens.push(GLOBSTAR);
      else if (i === from) tokens.push(STAR);
      else if (atSegmentStart(tokens) && pattern.charCodeAt(i + 1) === SLASH) {
        tokens.push(MAYBE_SKIP, DIRECTORIES);
        i++;
      } else if (i + 1 === pattern.length && tokens.at(-1) === SLASH) {
        tokens.splice(-1, 1, MAYBE_END, SLASH, GLOBSTAR);
      } else tokens.push(GLOBSTAR);
    } else {
      tokens.push(unit);
    }
  }
  return tokens;
}

function atSegmentStart(tokens: readonly number[]): boolean {
  const last = tokens.at(-1);
  return last === undefined || last === SLASH || last === DIRECTORIES;
}

function literalOf(tokens: readonly number[]): string | undefined {
  return tokens.some((token) => token < 0) ? undefined : textOf(tokens);
}

function textOf(tokens: readonly number[]): string {
  return tokens.map((token) => String.fromCharCode(token)).join('');
}

/** The usual patterns, a literal with at most one wildcard before or after it, without an automaton. */
function shortcut(tokens: readonly number[]): Matcher | undefined {
  const literal = literalOf(tokens);
  if (literal !== undefined) return (text) => text === literal;
  if (tokens.length === 1 && tokens[0] === GLOBSTAR) return () => true;
  if (tokens.at(-1) === GLOBSTAR) {
    const head = literalOf(tokens.slice(0, -1));
    if (head !== undefined) return (text) => text.startsWith(head);
    const stem = tokens.at(-3) === MAYBE_END ? literalOf(tokens.slice(0, -3)) : undefined;
    if (stem !== undefined)
      return (text) =>
        text.startsWith(stem) && (text.length === stem.length || text.charCodeAt(stem.length) === SLASH);
  }
  if (tokens[0] === GLOBSTAR) {
    const tail = literalOf(tokens.slice(1));
    if (tail !== undefined) return (text) => text.endsWith(tail);
  }
  return undefined;
}

/** Walks all possible positions in the pattern at once (Thompson): text × pattern steps, whatever the pattern. */
function automaton(tokens: readonly number[]): Matcher {
  const size = tokens.length;
  const wildcard = tokens.findIndex((token) => token < 0);
  const prefix = textOf(tokens.slice(0, wildcard));
  const program = Int32Array.from(tokens);
  let here = new Uint8Array(size + 1);
  let there = new Uint8Array(size + 1);

  const enter = (states: Uint8Array, state: number): void => {
    for (let at = state; states[at] === 0; at++) {
      states[at] = 1;
      if (at === size) return;
      const token = program[at]!;
      if (token === MAYBE_END) states[size] = 1;
      else if (token === MAYBE_SKIP) enter(states, at + 2);
      else if (token !== STAR && token !== GLOBSTAR) return;
    }
  };

  return (text) => {
    if (!text.startsWith(prefix)) return false;
    here.fill(0);
    enter(here, prefix.length);
    for (let i = prefix.length; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      there.fill(0);
      let alive = false;
      for (let at = prefix.length; at < size; at++) {
        if (here[at] === 0) continue;
        const token = program[at]!;
        if (token === unit) enter(there, at + 1);
        else if (token === GLOBSTAR || (token === STAR && unit !== SLASH)) enter(there, at);
        else if (token === ONE) enter(there, at + 1);
        else if (token === DIRECTORIES) {
          enter(there, at);
          if (unit === SLASH) enter(there, at + 1);
        } else continue;
        alive = true;
      }
      if (!alive) return false;
      [here, there] = [there, here];
    }
    return here[size] === 1;
  };
}
